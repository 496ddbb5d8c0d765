"""Robust scaling against scikit-learn's quartiles in float64; samples and bins of larger data."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import RobustScaler as Reference

from dltrain.data.preprocess import Robust, RobustScaler, Scale, fit
from dltrain.data.preprocess.bins import Bins, QuantileBins
from dltrain.data.preprocess.bounds import Bounds
from dltrain.data.preprocess.sample import Sample
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

RNG = np.random.default_rng(0)
TABLE = Spec(
    {"numbers": Feature(Kind.NUMBERS, (4,), "float32")},
    {"target": Feature(Kind.NUMBERS, (1,), "float32")},
    Regression(),
)


@pytest.fixture(scope="module")
def table():
    """A wide column, one with an outlier, a rare flag whose quartiles are equal, and a constant."""
    x = RNG.normal([50, 0, 0, 7], [20, 1, 0, 0], (400, 4))
    x[0, 1], x[:10, 2] = 1e9, 1
    return x.astype(np.float32)


def clipped(z):
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_scaling_equals_scikit_learn_and_the_smooth_clip_in_float64(table):
    fitted = RobustScaler().fit([table[:100], table[100:]])
    expected = clipped(Reference().fit_transform(table[:, :2].astype(np.float64)))
    found = np.asarray(fitted.forward(jnp.asarray(table)))
    np.testing.assert_allclose(found[:, :2], expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(found[:, 2], clipped(table[:, 2] / 0.5), rtol=1e-6)  # half of minimum to maximum
    assert (found[:, 3] == 0).all() and np.abs(found).max() <= 3


@pytest.mark.parametrize("value", [1e30, -1e30, np.inf])
def test_huge_values_reach_the_bound_and_have_a_finite_gradient(value):
    import jax

    step = Robust(np.zeros(1, np.float32), np.ones(1, np.float32))
    x = jnp.full((1, 1), value, jnp.float32)
    found, slope = jax.value_and_grad(lambda x: step.forward(x).sum())(x)
    assert found == 3 * np.sign(value) and np.isfinite(slope).all()


def test_what_is_undone_has_its_units_again(table):
    fitted = RobustScaler().fit([table])
    some = table[1:, :3]
    back = Robust(fitted.median[:3], fitted.factor[:3])
    np.testing.assert_allclose(back.inverse(back.forward(jnp.asarray(some))), some, rtol=1e-3, atol=1e-3)


def test_targets_are_standardised(table):
    y = RNG.normal(1e5, 3e4, (400, 1)).astype(np.float32)
    found = fit(table, y, spec=TABLE, scale=Scale.ROBUST).scaled({"inputs": table, "targets": jnp.asarray(y)})
    assert abs(np.mean(found["targets"])) < 1e-4 and abs(np.std(found["targets"]) - 1) < 1e-4


@pytest.mark.parametrize(
    "fitted",
    [
        RobustScaler().fit([RNG.normal(size=(30, 3)).astype(np.float32)]),
        QuantileBins(4).fit([RNG.normal(size=(30, 3)).astype(np.float32)]),
        Bounds.fit([RNG.normal(size=(30, 3)).astype(np.float32)]),
    ],
)
def test_json_keeps_every_bit(fitted):
    again = type(fitted).from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.to_json() == fitted.to_json()


@pytest.mark.parametrize(
    ("step", "saved"),
    [
        (Robust, {"median": [0.0], "factor": [-1.0]}),
        (Robust, {"median": [0.0, 1.0], "factor": [1.0]}),
        (Bins, {"edges": [[1.0, 0.0]]}),
        (Bounds, {"low": [1.0], "high": [0.0]}),
    ],
)
def test_damaged_values_are_refused(step, saved):
    with pytest.raises(ValueError, match="must be"):
        step.from_json(saved)


def test_a_sample_does_not_depend_on_blocks_and_is_spread_over_the_data():
    rows = np.arange(10_000, dtype=np.float32)[:, None]
    samples = []
    for size in (10_000, 999, 64):
        sample = Sample(most=1000)
        for start in range(0, len(rows), size):
            sample.add(rows[start : start + size])
        samples.append(sample.rows())
    for other in samples[1:]:
        np.testing.assert_array_equal(samples[0], other)
    assert 250 < len(samples[0]) <= 1000
    np.testing.assert_allclose(np.quantile(samples[0], [0.25, 0.5, 0.75]), [2500, 5000, 7500], atol=700)


def test_bins_have_equally_many_values_and_equal_quantiles_are_one_edge():
    x = np.stack([RNG.normal(size=960), RNG.integers(0, 3, 960), np.full(960, 2.0)], 1).astype(np.float32)
    fitted = QuantileBins(8).fit([x])
    counts = np.histogram(x[:, 0], fitted.edges[0])[0]
    assert len(counts) == 8 and np.ptp(counts) <= 2
    assert fitted.edges[1:] == ((0.0, 1.0, 2.0), (2.0, 3.0))
    assert fitted.describe(TABLE.inputs["numbers"]).bins == fitted.edges


def test_the_few_values_of_a_column_of_mostly_zeros_have_bins():
    x = np.zeros((1000, 1), np.float32)
    x[:40, 0] = np.arange(1, 41)
    edges = QuantileBins(8).fit([x]).edges[0]
    assert len(edges) == 9 and (edges[0], edges[-1]) == (0.0, 40.0)
    assert np.diff(edges[1:]).max() <= 12


def test_predictions_are_clipped_to_the_training_targets_and_the_loss_is_not(table):
    y = np.array([[1.0], [5.0]] * 200, np.float32)
    from dltrain.data.preprocess import fit_blocks

    block = {"numbers": table}, {"target": y}
    fitted = fit_blocks(lambda: [block], spec=TABLE, scale=Scale.STANDARD, clamp=True)
    np.testing.assert_allclose(fitted.outputs(jnp.asarray([[-9.0], [0.5], [9.0]])), [[1.0], [4.0], [5.0]])
    targets = fitted.scaled({"inputs": table[:1], "targets": jnp.asarray([[9.0]])})["targets"]
    np.testing.assert_allclose(targets, [[3.0]])
