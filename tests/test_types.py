"""A spec describes data by named features, and survives a round trip through JSON."""

import json

import pytest

from dltrain.errors import ConfigError
from dltrain.tasks import Binary, Generation
from dltrain.types import Feature, Kind, Spec, alone_or_named, content

TEXT = Feature(Kind.TOKENS, (5,), "int32", vocabulary=("<pad>", "a", "ü"))
PAIRS = Spec(
    {
        "source": TEXT,
        "length": Feature(Kind.LENGTH, (), "int32"),
        "tokens": Feature(Kind.DECODER_TOKENS, (4,), "int32", vocabulary=TEXT.vocabulary),
    },
    {"target": Feature(Kind.TOKENS, (4,), "int32", vocabulary=TEXT.vocabulary)},
    Generation(),
    for_loss={"loss_mask": Feature(Kind.MASK, (4,), "bool")},
)
TABLE = Spec(
    {"numbers": Feature(Kind.NUMBERS, (2,), "float64", names=("age", "height"))},
    {"label": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))},
    Binary(),
    counts={"train": (3, 4), "test": (0, 1)},
)


@pytest.mark.parametrize("spec", [PAIRS, TABLE])
def test_a_spec_is_the_same_after_json(spec):
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())), task=spec.task)
    assert again == spec and list(again.inputs) == list(spec.inputs)


def test_the_order_of_inputs_is_kept_in_json():
    turned = Spec(dict(reversed(PAIRS.inputs.items())), PAIRS.targets, PAIRS.task)
    assert list(json.loads(json.dumps(turned.to_json()))["inputs"]) == ["tokens", "length", "source"]


def test_the_one_input_with_content_is_found_among_those_that_describe_it():
    assert (PAIRS.input_name, PAIRS.input, PAIRS.find(Kind.LENGTH)) == ("source", TEXT, "length")
    assert (PAIRS.only(Kind.DECODER_TOKENS), PAIRS.find(Kind.POSITION)) == ("tokens", None)
    assert content({"inputs": {"source": 1, "length": 2}}, PAIRS) == 1 == content({"inputs": 1}, TABLE)


def test_several_inputs_with_content_and_none_of_a_kind_are_named_where_one_is_needed():
    two = Spec({"age": TABLE.input, "photo": Feature(Kind.IMAGE, (4, 4, 1), "uint8")}, TABLE.targets, Binary())
    with pytest.raises(
        ConfigError, match=r"exactly one of the inputs of the data, found age \(numbers\), photo \(image\)"
    ):
        _ = two.input
    with pytest.raises(ConfigError, match=r"exactly one of the inputs of kind length .* found none"):
        two.only(Kind.LENGTH)


def test_one_input_is_an_array_and_several_are_a_dict_for_the_model_as_in_a_batch():
    assert TABLE.example().shape == (1, 2) and TABLE.example().dtype == "float32"
    given = PAIRS.example()
    assert {name: (s.shape, str(s.dtype)) for name, s in given.items()} == {
        "source": ((1, 5), "int32"),
        "length": ((1,), "int32"),
        "tokens": ((1, 4), "int32"),
    }
    assert TABLE.layout()["inputs"] is TABLE.input and set(PAIRS.layout()["inputs"]) == set(PAIRS.inputs)
    assert set(PAIRS.layout()) == {"inputs", "targets", "loss_mask"}
    assert alone_or_named({"x": 1}) == 1 and alone_or_named({"x": 1, "y": 2}) == {"x": 1, "y": 2}


def test_classes_and_vocabulary_are_those_of_the_features():
    assert (TABLE.classes, TABLE.vocabulary, TABLE.has_labels) == (("no", "yes"), (), True)
    assert (PAIRS.classes, PAIRS.vocabulary, PAIRS.has_labels) == ((), TEXT.vocabulary, False)
