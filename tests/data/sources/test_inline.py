from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from dltrain.data.check import check_examples
from dltrain.data.sources.inline import make_table
from dltrain.errors import DataError
from dltrain.tasks import Binary, Classification, Regression


def everything(source):
    return source.read(np.arange(len(source)))


def test_yaml_holds_the_golden_numbers():
    path = Path(__file__).parents[3] / "configs" / "data" / "inline.yaml"
    node = yaml.safe_load(path.read_text())
    source = make_table(node["inputs"], node["targets"])
    arrays = everything(source)
    np.testing.assert_array_equal(arrays["inputs"], np.array([[1], [2], [3], [4]], np.float32), strict=True)
    np.testing.assert_array_equal(arrays["targets"], np.array([[2], [4], [6], [8]], np.float32), strict=True)
    assert (source.spec.input.names, source.spec.target.names, node["task"]) == (("x",), ("y",), "regression")
    assert node["test"] == 0


@pytest.mark.parametrize(
    ("task", "targets", "classes", "outputs"),
    [
        (Regression(), [[1, 2], [3, 4.5], [0, 0]], (), 2),
        (Classification(), [0, 2, 1], ("0", "1", "2"), 3),
        (Classification(), [0, 0, 0.0], ("0", "1"), 2),
        (Binary(), [0, 1, 1], ("0", "1"), 1),
    ],
)
def test_spec_follows_task_and_numbers(task, targets, classes, outputs):
    source = make_table([[1, 2], [3, 4], [5, 6]], targets, task=task)
    check_examples(everything(source), source.spec)
    spec = replace(source.spec, task=task)
    task.check(spec)
    assert (spec.classes, spec.outputs) == (classes, outputs)
    assert (len(source), source.spec.input.names) == (3, ("x1", "x2"))


FAULTS = {
    "fewer targets": (
        [1, 2],
        [1],
        Regression(),
        "data.inputs has 2 rows, data.targets has 1; the numbers must be equal",
    ),
    "nothing": ([], [], Regression(), "data.inputs: is empty"),
    "ragged": ([[1, 2], [3]], [1, 2], Regression(), r"data.inputs: row 1 is \[3\], expected 2 numbers"),
    "number among rows": ([[1], 2], [1, 2], Regression(), "data.inputs: row 1 is 2, expected 1 numbers"),
    "row among numbers": ([1, [2]], [1, 2], Regression(), r"row 1 is \[2\], expected a number"),
    "empty row": ([[]], [1], Regression(), r"row 0 is \[\]"),
    "text": ([1, "2"], [1, 2], Regression(), "data.inputs: row 1 holds '2', expected a number"),
    "truth": ([1, 2], [True, 2], Regression(), "data.targets: row 0 holds True"),
    "nothing at a place": ([1, None], [1, 2], Regression(), "row 1 holds None"),
    "nan": ([1, 2], [1, float("nan")], Regression(), "data.targets: row 1 holds nan, expected a finite number"),
    "infinite": ([float("inf"), 2], [1, 2], Regression(), "data.inputs: row 0 holds inf"),
    "beyond float32": ([1, 1e39], [1, 2], Regression(), "row 1 holds 1e[+]39, .* fits float32"),
    "half a class": ([1, 2], [0, 0.5], Classification(), "data.targets: row 1 is 0.5, expected a label"),
    "negative class": ([1, 2], [-1, 0], Classification(), "row 0 is -1"),
    "two labels per row": ([1], [[0, 1]], Classification(), "classes need one label per row, found 2"),
    "a million classes": ([1], [1e6], Classification(), "row 0 is 1e[+]06"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_mistake_is_named_with_its_row(fault):
    inputs, targets, task, message = FAULTS[fault]
    with pytest.raises(DataError, match=message):
        make_table(inputs, targets, task=task)


WRONG_WEIGHTS = {
    "fewer": ([1, 1], "data.inputs has 3 rows, data.weights has 2"),
    "negative": ([1, -0.5, 1], "data.weights: the weight of example 1 is -0.5, expected 0 or more"),
    "infinite": ([1, 1, float("inf")], "data.weights: row 2 holds inf, expected a finite number"),
    "none": ([0, 0, 0], "data.weights: the weights of all examples are 0"),
    "rows": ([[1, 2]] * 3, r"data.weights: row 0 is \[1, 2\], expected a number"),
}


@pytest.mark.parametrize("fault", WRONG_WEIGHTS)
def test_an_invalid_weight_is_named_with_its_row(fault):
    weights, message = WRONG_WEIGHTS[fault]
    with pytest.raises(DataError, match=message):
        make_table([1, 2, 3], [4, 5, 6], weights=weights)


def test_fingerprint_follows_every_number():
    prints = {
        make_table([1, 2], [3, 4]).fingerprint,
        make_table([1, 2], [3, 5]).fingerprint,
        make_table([1, 3], [2, 4]).fingerprint,
        make_table([[1, 2]], [[3, 4]]).fingerprint,
        make_table([1, 2], [1, 0], task=Binary()).fingerprint,
        make_table([1, 2], [1, 0]).fingerprint,
        make_table([1, 2], [3, 4], weights=[1, 2]).fingerprint,
    }
    assert len(prints) == 7
    assert make_table([1, 2], [3, 4]).fingerprint == make_table([1.0, 2.0], [3, 4]).fingerprint
