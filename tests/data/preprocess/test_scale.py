"""Scaling equals float64 NumPy on the training examples, and is undone for the metrics."""

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.data.preprocess import Scale, fit
from dltrain.tasks import Classification, Regression
from dltrain.types import Feature, Kind, Spec

RNG = np.random.default_rng(0)
TABLE = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.NUMBERS, (2,), "float32")},
    Regression(),
)
IMAGE = Spec(
    {"image": Feature(Kind.IMAGE, (4, 4, 2), "uint8")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))},
    Classification(),
)


@pytest.fixture(scope="module")
def table():
    """Columns of very different size, the last one constant."""
    x = RNG.normal([1e4, -3, 0.1], [7, 1e-3, 0], (50, 3)).astype(np.float32)
    return x, RNG.normal([100, -5], [30, 0.1], (50, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def pictures():
    return RNG.integers(3, 250, (20, 4, 4, 2), dtype=np.uint8)


def scaled(preprocess, inputs, targets=None):
    batch = {"inputs": jnp.asarray(inputs), "targets": targets}
    return np.asarray(preprocess.scaled(batch)["inputs"])


def test_standardising_equals_numpy_in_float64_on_the_training_examples_only(table):
    x, y = table
    preprocess = fit(x[:30], y[:30], spec=TABLE, scale=Scale.STANDARD)
    train = x[:30].astype(np.float64)
    expected = (x[:, :2] - train.mean(0)[:2]) / train.std(0)[:2]
    found = preprocess.scaled({"inputs": jnp.asarray(x), "targets": jnp.asarray(y)})
    assert found["inputs"].dtype == np.float32
    np.testing.assert_allclose(found["inputs"][:, :2], expected, rtol=2e-3, atol=2e-3)  # float32 inputs of 1e4 +- 7
    np.testing.assert_allclose(preprocess.scaling.shift, train.mean(0), rtol=1e-7)
    np.testing.assert_allclose(preprocess.scaling.scale[:2], train.std(0)[:2], rtol=1e-7)
    targets = y[:30].astype(np.float64)
    np.testing.assert_allclose(found["targets"], (y - targets.mean(0)) / targets.std(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [scale for scale in Scale if scale not in (Scale.ROBUST, Scale.QUANTILE)])
def test_a_constant_column_is_only_shifted(table, scale):
    x, y = table
    preprocess = fit(x, y, spec=TABLE, scale=scale)
    assert preprocess.scaling.scale[2] == 1
    found = scaled(preprocess, x + np.float32([0, 0, 0.5]), jnp.asarray(y))
    np.testing.assert_allclose(found[:, 2], 0.6 if scale is Scale.NONE else 0.5, rtol=1e-6)


@pytest.mark.parametrize("scale", list(Scale))
def test_outputs_come_back_in_the_units_of_the_data(table, scale):
    x, y = table
    preprocess = fit(x, y, spec=TABLE, scale=scale)
    targets = preprocess.scaled({"inputs": jnp.asarray(x), "targets": jnp.asarray(y)})["targets"]
    np.testing.assert_allclose(preprocess.outputs(targets), y, rtol=1e-5)
    assert (preprocess.target_scaling is None) == (not scale.standardizes_targets)


def test_classes_are_never_scaled(pictures):
    labels = np.arange(20, dtype=np.int32) % 2
    preprocess = fit(pictures, labels, spec=IMAGE, scale=Scale.STANDARD)
    assert preprocess.target_scaling is None
    assert preprocess.scaled({"inputs": jnp.asarray(pictures), "targets": labels})["targets"] is labels


def test_the_exact_moments_of_bytes_equal_those_of_floats(pictures):
    labels = np.zeros(20, np.int32)
    small = fit(pictures, labels, spec=IMAGE, scale=Scale.STANDARD).scaling
    large = fit(pictures.astype(np.float32), labels, spec=IMAGE, scale=Scale.STANDARD).scaling
    flat = pictures.reshape(-1, 2).astype(np.float64)
    for found in (small, large):
        assert found.shift.shape == (2,)  # one number a channel
        np.testing.assert_allclose(found.shift, flat.mean(0), rtol=1e-7)
        np.testing.assert_allclose(found.scale, flat.std(0), rtol=1e-7)


@pytest.mark.parametrize(("scale", "low"), [(Scale.UNIT, 0.0), (Scale.SYMMETRIC, -1.0)])
def test_ranges_end_where_they_should(table, pictures, scale, low):
    x, y = table
    found = scaled(fit(x, y, spec=TABLE, scale=scale), x, jnp.asarray(y))[:, :2]
    np.testing.assert_allclose(found.min(0), low, atol=2e-4)
    np.testing.assert_allclose(found.max(0), 1.0, atol=2e-4)
    dark = pictures // np.array([1, 2], np.uint8)  # the second channel is half as bright, and stays so
    labels = np.zeros(20, np.int32)
    found = scaled(fit(dark, labels, spec=IMAGE, scale=scale), dark)
    assert (found.min(), found.max()) == (pytest.approx(low, abs=1e-6), pytest.approx(1.0))
    assert found[..., 1].max() < found[..., 0].max() - 0.3


def test_the_fitted_values_saved_with_the_run_are_those_that_are_used(table):
    saved = fit(*table, spec=TABLE, scale=Scale.STANDARD).to_json()
    assert sorted(saved) == ["inputs", "targets"]
    (step,) = saved["inputs"]["numbers"]
    assert step["_target_"] == "dltrain.data.preprocess.scale.Affine"
    np.testing.assert_allclose(step["fitted"]["shift"], table[0].mean(0, dtype=np.float64), rtol=1e-6)
    assert len(saved["targets"]["target"]) == 1
    assert fit(*table, spec=TABLE, scale=Scale.UNIT).to_json()["targets"]["target"] == []
