import re

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.errors import DataError
from dltrain.tree import flattened
from dltrain.types import Feature, Kind, Spec


def table(labels=True, classes=("a", "b", "c")):
    rng = np.random.default_rng(0)
    arrays = {
        "inputs": rng.normal(size=(6, 2)).astype(np.float32),
        "targets": np.array([0, 1, 1, 0, 1, 0], np.int32) if labels else rng.normal(size=(6, 1)).astype(np.float32),
    }
    label = Feature(Kind.CATEGORY, (), "int32", vocabulary=classes)
    price = Feature(Kind.NUMBERS, (1,), "float32", names=("price",))
    inputs = {"numbers": Feature(Kind.NUMBERS, (2,), "float32", names=("height", "weight"))}
    return arrays, Spec(inputs, {"target": label if labels else price})


@pytest.mark.parametrize("labels", [True, False])
def test_valid_examples_pass(labels):
    check_examples(*table(labels))


def planted(part, where, value):
    def plant(arrays):
        arrays[part][where] = value

    return plant


FAULTS = {
    "nan input": (True, planted("inputs", (4, 1), np.nan), "example 4, column weight: nan"),
    "infinite input": (True, planted("inputs", (0, 0), -np.inf), "example 0, column height: -inf"),
    "nan target": (False, planted("targets", (5, 0), np.nan), "example 5, column price: nan"),
    "label too large": (True, planted("targets", 3, 3), r"example 3 is 3, expected 0\.\.2"),
    "negative label": (True, planted("targets", 2, -1), "example 2 is -1"),
    "third class of two": (("a", "b"), planted("targets", 1, 2), r"example 1 is 2, expected 0\.\.1"),
    "other width": (
        True,
        lambda a: a.update(inputs=a["inputs"][:, :1]),
        r"inputs are float32 \[1\] per example, but .* float32 \[2\]",
    ),
    "other dtype": (
        True,
        lambda a: a.update(targets=a["targets"].astype(np.int64)),
        "targets are int64",
    ),
    "other length": (False, lambda a: a.update(targets=a["targets"][:5]), "6 of inputs, 5 of targets"),
    "extra array too long": (True, lambda a: a.update(weights=np.ones(7)), "7 of weights"),
    "nan weight": (
        True,
        lambda a: a.update(weights=np.array([1, 1, np.nan, 1, 1, 1])),
        "weights of example 2: nan",
    ),
    "no targets": (True, lambda a: a.pop("targets"), "returns no targets"),
    "no examples": (True, lambda a: a.update({k: v[:0] for k, v in a.items()}), "no examples"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_named(fault):
    what, plant, message = FAULTS[fault]
    arrays, spec = table(classes=what) if isinstance(what, tuple) else table(what)
    plant(arrays)
    with pytest.raises(DataError, match=message) as caught:
        check_examples(arrays, spec, name="mine")
    assert str(caught.value).startswith("mine: ")


def test_bad_pixel_is_found_in_an_image():
    images = np.zeros((3, 2, 2, 1), np.float32)
    images[1, 0, 1, 0] = np.inf
    images[2] = np.nan
    spec = Spec(
        {"image": Feature(Kind.IMAGE, (2, 2, 1), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))},
    )
    with pytest.raises(
        DataError, match=re.escape("example 1, column 0, 1, 0: inf is not a finite number; 2 of 3 examples")
    ):
        check_examples({"inputs": images, "targets": np.zeros(3, np.int32)}, spec)


def sentences():
    arrays = {
        "inputs": {"text": np.array([[0, 1, 2], [2, 1, 0]], np.int32), "length": np.array([3, 2], np.int32)},
        "targets": np.array([[1, 2, 0], [1, 0, 0]], np.int32),
        "loss_mask": np.array([[1, 1, 1], [1, 1, 0]], bool),
    }
    spec = Spec(
        {
            "text": Feature(Kind.TOKENS, (3,), "int32", vocabulary=("a", "b", "c")),
            "length": Feature(Kind.LENGTH, (), "int32"),
        },
        {"target": Feature(Kind.TOKENS, (3,), "int32", vocabulary=("a", "b", "c"))},
        for_loss={"loss_mask": Feature(Kind.MASK, (3,), "bool")},
    )
    return arrays, spec


@pytest.mark.parametrize(
    ("part", "where", "value", "message"),
    [
        (
            "inputs.text",
            (1, 2),
            3,
            r"inputs.text of example 1, 2: 3, expected 0\.\.2 \(3 tokens of the vocabulary\)",
        ),
        ("targets", (0, 1), -1, r"targets of example 0, 1: -1, expected 0\.\.2"),
        ("inputs.length", 1, 0, r"the length of example 1 is 0, expected 1\.\.3"),
        ("inputs.length", 0, 4, r"the length of example 0 is 4, expected 1\.\.3"),
    ],
)
def test_tokens_and_lengths_are_checked(part, where, value, message):
    arrays, spec = sentences()
    check_examples(arrays, spec)
    flattened(arrays)[part][where] = value
    with pytest.raises(DataError, match=message):
        check_examples(arrays, spec)


def test_a_class_of_a_pixel_is_checked():
    labels = np.zeros((2, 4, 4), np.int32)
    spec = Spec(
        {"image": Feature(Kind.IMAGE, (4, 4, 1), "float32")},
        {"target": Feature(Kind.CATEGORY, (4, 4), "int32", vocabulary=("a", "b"))},
    )
    check_examples({"inputs": np.zeros((2, 4, 4, 1), np.float32), "targets": labels}, spec)
    labels[1, 2, 3] = 2
    with pytest.raises(DataError, match=r"targets of example 1, 2, 3: 2, expected 0\.\.1 \(2 classes\)"):
        check_examples({"inputs": np.zeros((2, 4, 4, 1), np.float32), "targets": labels}, spec)
