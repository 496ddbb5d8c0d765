"""Regression metrics against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import GOALS, GUESSES, as_given, measured, spec_of, within
from sklearn import metrics as sk

from dltrain import metrics
from dltrain.tasks import Regression

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("mse", sk.mean_squared_error),
        ("rmse", sk.root_mean_squared_error),
        ("mae", sk.mean_absolute_error),
        ("mape", sk.mean_absolute_percentage_error),
        ("r2", sk.r2_score),
    ],
)
def test_regression_metrics_equal_scikit_learn(numbers, dtype, name, score):
    expected = score(as_given(GOALS, dtype), as_given(GUESSES, dtype))
    assert numbers[name] == pytest.approx(expected, rel=within(dtype, 2e-6))


def test_mape_of_a_zero_target_is_huge_unless_predicted_exactly():
    guesses, goals = jnp.asarray([[0.5], [0.0], [3.0]]), jnp.asarray([[0.0], [0.0], [-4.0]])
    found = metrics.mape(guesses, {"targets": goals})
    expected = [sk.mean_absolute_percentage_error(y, z) for y, z in zip(goals, guesses, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] > 1e15 and found[1] == 0


def test_r2_is_accurate_with_an_outlier_as_the_first_example(dtype):
    goals = GOALS[:, :1].copy()
    goals[0] = 3e3
    guesses = goals + (GUESSES - GOALS)[:, :1]
    spec = spec_of(Regression(), targets=(1,))
    found = measured({"r2": metrics.R2(spec=spec)}, guesses, goals, dtype=dtype)
    expected = 1 - sk.r2_score(as_given(goals, dtype), as_given(guesses, dtype))
    assert 1 - found["r2"] == pytest.approx(expected, rel=within(dtype, 1e-4))


def test_flat_outputs_and_targets_are_one_column():
    spec = spec_of(Regression(), targets=())
    found = measured({"rmse": metrics.RMSE(spec=spec), "r2": metrics.R2(spec=spec)}, GUESSES[:, :1], GOALS[:, 0])
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(GOALS[:, 0], GUESSES[:, 0]), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(GOALS[:, 0], GUESSES[:, 0]), rel=1e-6)
