"""Bins of confidence, computed by hand, and the error of the metric `ece`."""

import numpy as np
import pytest

from dltrain.inference.scores.calibration import calibrate
from dltrain.metrics import CalibrationError


def test_bins_are_open_below_and_closed_above():
    confidence = np.array([0.5, 0.5, 0.51, 0.75, 0.9, 1.0, np.nan])
    found = calibrate(confidence, np.array([1, 0, 1, 0, 1, 1, 1], bool), what="", bins=4)
    assert found.counts.tolist() == [0, 2, 2, 2]
    assert found.confidence[1:] == pytest.approx([0.5, 0.63, 0.95]) and np.isnan(found.confidence[0])
    assert found.right[1:] == pytest.approx([0.5, 0.5, 1.0])
    assert found.error == pytest.approx((2 * 0 + 2 * 0.13 + 2 * 0.05) / 6)


def test_the_error_is_that_of_the_metric():
    rng, metric = np.random.default_rng(0), CalibrationError()
    logits, targets = rng.normal(size=(300, 4)).astype(np.float32), rng.integers(0, 4, 300).astype(np.int32)
    state = metric.add(metric.zero(), logits, {"targets": targets, "mask": np.ones(300, bool)})
    powers = np.exp(logits.astype(np.float64))
    confidence = powers.max(1) / powers.sum(1)
    found = calibrate(confidence, logits.argmax(1) == targets, what="")
    assert found.error == pytest.approx(metric.value(state), abs=1e-6)


def test_without_predictions_there_is_no_error():
    found = calibrate(np.zeros(0), np.zeros(0, bool), what="")
    assert np.isnan(found.error) and found.to_json()["counts"] == [0] * 15
