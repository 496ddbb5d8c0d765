"""Arrays become a source with named features; wrong arguments are named."""

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.sources.rows import make_rows
from dltrain.types import Feature, Kind

X, Y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])


def test_one_array_of_inputs_is_named_by_its_kind_and_words_do():
    rows = make_rows({"inputs": X, "targets": Y}, kind="numbers", classes=["no", "yes"], features=["a", "b"])
    assert rows.spec.inputs == {"numbers": Feature(Kind.NUMBERS, (2,), "float32", names=("a", "b"))}
    assert rows.spec.target == Feature(Kind.CATEGORY, (), "int64", vocabulary=("no", "yes"))
    check_examples(rows.read(np.array([0, 3])), rows.spec)


def test_several_inputs_have_their_names_and_weights_are_for_the_loss():
    inputs = {"heard": np.zeros((4, 3, 2), np.float32), "steps": np.array([1, 2, 3, 3])}
    kinds = {"heard": Kind.SEQUENCE, "steps": "length"}
    arrays = {"inputs": inputs, "targets": X, "weights": np.ones(4, np.float32)}
    rows = make_rows(arrays, kind=kinds, target_names=["p", "q"])
    assert {name: feature.kind for name, feature in rows.spec.inputs.items()} == kinds
    assert rows.spec.target == Feature(Kind.NUMBERS, (2,), "float32", names=("p", "q"))
    assert rows.spec.for_loss == {"weights": Feature(Kind.WEIGHT, (), "float32")}
    read = rows.read(np.array([2, 0]))
    check_examples(read, rows.spec)
    assert read["inputs"]["steps"].tolist() == [3, 1] and len(rows) == 4


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"kind": "picture"}, ValueError, "make_rows: kind='picture': expected one of numbers, image, sequence"),
        ({"kind": None}, ValueError, "make_rows: kind=None: expected one of"),
        ({"kind": {"x": "image"}}, TypeError, "kind: found one for each of x, but inputs is one array"),
        ({"classes": "yes"}, TypeError, "classes: expected a list of texts, found 'yes'"),
        ({"classes": [0, 1]}, TypeError, r"classes: expected a list of texts, found \[0, 1\]"),
        ({"arrays": [X, Y]}, TypeError, "expected a dict of arrays, found list"),
        ({"arrays": {"inputs": X}}, TypeError, "targets: missing; found inputs"),
        (
            {"arrays": {"inputs": X.tolist(), "targets": Y}},
            TypeError,
            "inputs: expected a NumPy array .*found list",
        ),
        (
            {"arrays": {"inputs": X, "targets": Y, "lengths": Y}},
            TypeError,
            "lengths: unknown; besides inputs and",
        ),
        (
            {"arrays": {"inputs": {"x": X}, "targets": Y}},
            TypeError,
            "kind: expected one for each input, {'x': ...}",
        ),
    ],
)
def test_a_wrong_argument_is_named(changed, error, message):
    options = {"arrays": {"inputs": X, "targets": Y}, "kind": "numbers", "classes": ["a", "b"]}
    arrays = {**options, **changed}.pop("arrays")
    with pytest.raises(error, match=message):
        make_rows(arrays, **{name: value for name, value in {**options, **changed}.items() if name != "arrays"})
