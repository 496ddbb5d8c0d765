"""The temperature is the one that was planted, and the best of a grid; classes stay."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from dltrain.inference.ensemble.calibrate import (
    HIGHEST,
    LOWEST,
    calibrate_outputs,
    calibration_error,
    fit_temperature,
    log_loss,
    log_probabilities,
    saved_calibration,
    with_temperature,
)
from dltrain.metrics import CalibrationError

RNG = np.random.default_rng(3)


def planted(temperature: float, count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Return logits [N, 3] that are `temperature` times those by which the classes are drawn, and the classes."""
    logits = RNG.normal(size=(count, 3), scale=1.5)
    drawn = (softmax(logits, -1).cumsum(-1) > RNG.random((count, 1))).argmax(-1)
    return (temperature * logits).astype(np.float32), drawn


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found_and_makes_probabilities_honest(temperature):
    outputs, targets = planted(temperature)
    found = calibrate_outputs(outputs, targets, of="validation")
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.ece[1] < 0.01 and found.log_loss[1] <= found.log_loss[0]
    if temperature != 1.0:
        assert found.ece[0] > 0.05


def test_no_temperature_of_a_grid_is_better():
    outputs, targets = RNG.normal(size=(200, 4), scale=4), RNG.integers(0, 4, 200)
    outputs[np.arange(200), targets] += 3
    grid = np.geomspace(LOWEST, HIGHEST, 2000)
    losses = [-log_softmax(outputs / t, -1)[np.arange(200), targets].mean() for t in grid]
    found = fit_temperature(outputs, targets)
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.01)
    assert log_loss(outputs, targets, found) <= min(losses) + 1e-9


def test_one_logit_of_two_classes_is_the_same_as_two():
    outputs, targets = RNG.normal(size=(300, 1), scale=3), RNG.integers(0, 2, 300)
    both = np.concatenate([np.zeros_like(outputs), outputs], 1)
    np.testing.assert_allclose(log_probabilities(outputs, 1.7), log_softmax(both / 1.7, -1), rtol=1e-9)
    assert fit_temperature(outputs, targets) == pytest.approx(fit_temperature(both, targets), rel=1e-4)


def test_the_classes_never_change():
    outputs = RNG.normal(size=(5000, 6), scale=5).astype(np.float32)
    for temperature in (0.013, 0.7, 2.3, 55.0):
        after = with_temperature(outputs, temperature)
        assert after.dtype == np.float32
        np.testing.assert_allclose(after, outputs.astype(np.float64) / temperature, rtol=1e-6)
        np.testing.assert_array_equal(after.argmax(-1), outputs.argmax(-1))
        np.testing.assert_array_equal(np.sign(after), np.sign(outputs))


def test_the_calibration_error_is_that_of_the_metric():
    outputs, targets = planted(2.0, 500)
    metric = CalibrationError()
    state = metric.add(metric.zero(), outputs, {"targets": targets, "mask": np.ones(500, bool)})
    assert calibration_error(outputs, targets) == pytest.approx(metric.value(state), rel=1e-5)


def test_without_a_mistake_the_fit_says_that_it_is_at_the_end():
    outputs = np.eye(3)[[0, 1, 2, 0]] * 2.0
    assert calibrate_outputs(outputs, np.array([0, 1, 2, 0]), of="validation").at_bound
    assert not calibrate_outputs(*planted(1.0, 500), of="validation").at_bound


def test_outputs_that_are_not_finite_have_no_temperature():
    assert fit_temperature(np.array([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 1])) == 1.0


def test_it_is_saved_and_read():
    found = calibrate_outputs(*planted(2.0, 50), of="validation")
    assert saved_calibration(found.to_json()) == found
    with pytest.raises(ValueError, match="before and after"):
        saved_calibration({**found.to_json(), "ece": [0.1]})
