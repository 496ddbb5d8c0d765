"""Differences beyond the tolerance and other decisions end an export; ties within the tolerance do not."""

import numpy as np
import pytest

from dltrain.devices.precision import PRECISIONS
from dltrain.errors import ConfigError
from dltrain.inference.export.check import check, tolerance_of

LOGITS = np.array([[1.0, 0.0], [0.0, 2.0], [0.5, 0.50001]])
EXPECTED = {"class": np.array([0, 1, 1]), "probabilities": np.array([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]])}


def checked(found, *, outputs=LOGITS, expected=EXPECTED):
    def function(inputs):
        return {name: array[: len(inputs["x"])] for name, array in found.items()}

    return check(function, {"x": np.zeros((3, 1))}, expected, outputs=outputs, tolerance=1e-4, what="the export")


def test_the_largest_difference_is_found():
    off = np.array([[0, 0], [0, -2e-5], [0, 0]])
    found = checked(EXPECTED | {"probabilities": EXPECTED["probabilities"] + off})
    assert found.largest == pytest.approx(2e-5) and not found.ties.any()
    assert found.words == "largest difference 2.0e-05, decisions equal"
    with pytest.raises(ConfigError, match=r"the export differs from the model by 2\.0e-01 \(relative\), more than"):
        checked(EXPECTED | {"probabilities": EXPECTED["probabilities"] + 1e4 * off})
    with pytest.raises(ConfigError, match="differs from the model by inf"):
        checked(EXPECTED | {"probabilities": EXPECTED["probabilities"] * np.nan})


def test_another_decision_is_refused_unless_it_is_a_tie():
    found = checked(EXPECTED | {"class": np.array([0, 1, 0])})
    assert found.ties.tolist() == [False, False, True] and "1 ties within the tolerance" in found.words
    with pytest.raises(ConfigError, match="class differs in 1 of 3 decisions"):
        checked(EXPECTED | {"class": np.array([0, 0, 1])})
    yes = {"labels": np.array([[1], [0], [1]])}
    outputs = np.array([[1e-5], [-3.0], [2.0]])
    assert checked({"labels": np.array([[0], [0], [1]])}, expected=yes, outputs=outputs).ties.sum() == 1
    with pytest.raises(ConfigError, match="labels differs in 1 of 3"):
        checked({"labels": np.array([[1], [1], [1]])}, expected=yes, outputs=outputs)


def test_missing_outputs_and_a_wrong_single_example_are_refused():
    with pytest.raises(ConfigError, match="returns class, expected class, probabilities"):
        checked({"class": EXPECTED["class"]})

    def right_for_many(inputs):
        return (
            EXPECTED if len(inputs["x"]) > 1 else {"class": np.array([1]), "probabilities": np.array([[0.7, 0.3]])}
        )

    with pytest.raises(ConfigError, match="class differs in 1 of 1 decisions"):
        check(right_for_many, {"x": np.zeros((3, 1))}, EXPECTED, outputs=LOGITS, tolerance=1e-4, what="the export")


def test_bfloat16_has_a_tolerance_of_its_own():
    assert tolerance_of(PRECISIONS["float32"]) == 1e-4 and tolerance_of(PRECISIONS["mixed"]) == 5e-2
