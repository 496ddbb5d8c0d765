"""Metrics of forecasts, compared with NumPy over all examples at once, padding masked."""

import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import measured

from dltrain.metrics import Average, PerStep, RootMSE, coverage, mae, mape, mse
from dltrain.metrics.forecasting import STEP_METRICS
from dltrain.tasks import Forecasting
from dltrain.types import Feature, Kind, Spec

N, H, C = 53, 5, 3
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(4, 1, (N, H, C)).astype(np.float32)
FOUND = (TRUTH + RNG.normal(0, 0.5, (N, H, C)) * np.arange(1, H + 1)[None, :, None]).astype(np.float32)
SPEC = Spec(
    {"past": Feature(Kind.SEQUENCE, (9, C), "float32")},
    {"future": Feature(Kind.NUMBERS, (H, C), "float32")},
    Forecasting(),
)


def test_each_step_of_the_horizon_has_its_metrics_and_the_whole_is_their_mean():
    chosen = {"steps": PerStep(spec=SPEC), "rmse": RootMSE(), "mse": mse, "mae": mae, "mape": mape}
    found = measured(chosen, FOUND, TRUTH, size=16)
    error = FOUND.astype(np.float64) - TRUTH
    expected = {
        "mse": np.square(error).mean((0, 2)),
        "mae": np.abs(error).mean((0, 2)),
        "rmse": np.sqrt(np.square(error).mean((0, 2))),
        "mape": (np.abs(error) / np.abs(TRUTH)).mean((0, 2)),
    }
    for column, name in enumerate(STEP_METRICS):
        np.testing.assert_allclose(found["steps"][:, column], expected[name], rtol=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-6)
    for name in ("mse", "mae", "mape"):
        assert found[name] == pytest.approx(expected[name].mean(), rel=1e-5)


def test_of_quantiles_the_middle_one_is_compared_and_the_outer_ones_are_the_interval():
    quantiles = np.stack([FOUND + 1, FOUND, FOUND - 1], -1)  # they cross: sorted, FOUND is in the middle
    found = measured({"mse": mse, "steps": PerStep(spec=SPEC), "coverage": coverage}, quantiles, TRUTH, size=16)
    plain = measured({"mse": mse, "steps": PerStep(spec=SPEC)}, FOUND, TRUTH, size=16)
    assert found["mse"] == plain["mse"]
    np.testing.assert_array_equal(found["steps"], plain["steps"])
    assert found["coverage"] == pytest.approx((np.abs(FOUND - TRUTH) <= 1).mean(), abs=2e-3)


def test_without_examples_and_with_nan_the_results_are_nan():
    for metric in (PerStep(spec=SPEC), RootMSE(), Average(coverage)):
        assert np.isnan(metric.value(metric.zero())).all()
    outputs = np.stack([FOUND, FOUND], -1)
    outputs[3] = np.nan
    assert np.isnan(measured({"coverage": coverage}, outputs, TRUTH)["coverage"])
    assert np.isnan(measured({"steps": PerStep(spec=SPEC)}, outputs[..., 0], TRUTH)["steps"]).all()


def test_coverage_needs_quantiles_and_steps_need_a_horizon():
    batch = {"targets": jnp.zeros((2, 3)), "mask": jnp.ones(2, bool)}
    with pytest.raises(ValueError, match="coverage needs outputs"):
        coverage(jnp.zeros((2, 3)), batch)
    flat = Spec(SPEC.inputs, {"future": Feature(Kind.NUMBERS, (3,), "float32")}, Forecasting())
    with pytest.raises(ValueError, match="per_step needs targets"):
        PerStep(spec=flat)
