"""The space of a search: what its words mean, which scale a range has, and what is refused."""

import math

import pytest

from dltrain.composition.overrides import read
from dltrain.errors import ConfigError
from dltrain.sweep.space import Dimension, read_space, size

TREE = {"model": {"mlp": None, "linear": None}}
WHOLE = "a whole number ≥ 1"


def space_of(*words: str, admitted: str = "") -> tuple[Dimension, ...]:
    found = {o.key: (o, values) for o, values in (read(word, TREE) for word in words)}
    return read_space(found, dict.fromkeys(found, admitted))


@pytest.mark.parametrize(
    ("text", "log"),
    [
        ("interval(1e-5,1e-1)", True),
        ("interval(1e-3,1e-1)", False),  # two decades, not more
        ("interval(0.999e-3,1e-1)", True),
        ("tag(linear,interval(1e-5,1e-1))", False),
        ("tag(log,interval(1e-2,1e-1))", True),
        ("interval(0,1)", False),
        ("interval(-1,1)", False),
        ("range(1,1000)", False),
    ],
)
def test_more_than_two_decades_are_sampled_in_log_space_unless_linear_is_typed(text, log):
    (dimension,) = space_of(f"optim.learning_rate={text}")
    assert dimension.log is log and dimension.distribution().log is log


def test_numbers_are_whole_where_the_key_is_or_int_is_typed():
    assert space_of("batch_size=interval(8,64)", admitted=WHOLE)[0].whole
    assert space_of("batch_size=interval(8,64)", admitted=f"all, or {WHOLE}")[0].whole
    assert space_of("model.depth=int(interval(1,8))")[0].whole
    assert space_of("epochs=range(1,9,2)")[0].ends() == ("epochs=1", "epochs=7")
    for admitted in ("", "a number ≥ 0", "a whole number ≥ 1 or a number > 0"):
        assert not space_of("model.depth=interval(1,8)", admitted=admitted)[0].whole


def test_lists_are_choices_and_keep_their_words():
    (widths,) = space_of("model.widths=choice([64],[128,128],[64])")
    assert widths.words == ("model.widths=[64]", "model.widths=[128,128]") and widths.count == 2
    (model,) = space_of("model=mlp,linear")
    assert [model.word(value) for value in model.distribution().choices] == ["model=mlp", "model=linear"]
    assert not space_of("epochs=3")


def test_a_word_holds_six_digits_and_stays_inside_the_range():
    dimension = Dimension("x", (), 0.12345678, 0.87654321)
    assert dimension.word(1 / 3) == "x=0.333333"
    for end in (dimension.low, dimension.high):
        assert dimension.low <= float(dimension.word(end).partition("=")[2]) <= dimension.high
    assert Dimension("n", (), 1, 9, whole=True).word(4) == "n=4"


def test_the_size_is_the_number_of_combinations():
    assert size(space_of("model=mlp,linear", "epochs=range(1,10,3)")) == 6
    assert size(space_of("batch_size=interval(8,64)", admitted=WHOLE)) == 57
    assert size(space_of("model=mlp,linear", "optim.learning_rate=interval(0,1)")) == math.inf


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("x=interval(1,0.5)", r"write interval\(0.5,1\)"),
        ("x=interval(1,1)", "write x=1"),
        ("x=interval(0,inf)", "finite"),
        ("x=tag(log,interval(0,1))", "above 0 in log space; it is 0"),
        ("x=tag(lgo,interval(1,9))", "lgo: no such tag; did you mean log?"),
        ("x=tag(log,linear,interval(1,9))", "exclude each other"),
        ("x=tag(log,choice(1,2))", r"a list has no scale; write x=tag\(log,interval\(LOW,HIGH\)\)"),
        ("x=tag(log,range(0.5,9,0.5))", "a range with steps has no log space"),
    ],
)
def test_a_mistake_is_refused_with_the_word_and_what_is_right(word, message):
    with pytest.raises(ConfigError, match=message) as error:
        space_of(word)
    assert str(error.value).startswith(word)


def test_whole_numbers_have_whole_ends():
    with pytest.raises(ConfigError, match="batch_size is a whole number"):
        space_of("batch_size=interval(8.5,64)", admitted=WHOLE)
