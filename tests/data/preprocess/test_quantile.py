"""Scaling by quantiles against scikit-learn in float64, and what it does to zeros, constants and huge values."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import QuantileTransformer

from dltrain.data.preprocess import Quantiles, QuantileScaler
from dltrain.data.preprocess.quantile import MOST

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def table():
    """A normal column, one with a long tail, one of mostly zeros, and a constant."""
    x = RNG.normal([50, 0, 0, 7], [20, 1, 0, 0], (900, 4))
    x[:, 1] = np.exp(3 * x[:, 1])
    x[:80, 2] = RNG.integers(1000, 99_999, 80)
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def fitted(table):
    return QuantileScaler().fit([table[:100], table[100:]])


def test_scaling_equals_scikit_learn(table, fitted):
    reference = QuantileTransformer(n_quantiles=MOST, output_distribution="normal", subsample=None)
    new = np.concatenate([table, RNG.normal(50, 60, (300, 4)).astype(np.float32)])
    expected = reference.fit(table.astype(np.float64)).transform(new.astype(np.float64))
    found = np.asarray(jax.jit(fitted.forward)(jnp.asarray(new)))
    inside = (new > table.min(0)) & (new < table.max(0))  # its smallest value is at the edge, even if it is common
    inside[:, 3] = False
    assert inside.sum() > 2000
    np.testing.assert_allclose(found[inside], expected[inside], rtol=2e-3, atol=2e-3)


def test_zeros_are_in_their_middle_and_the_rest_is_kept_apart(table, fitted):
    found = np.asarray(fitted.forward(jnp.asarray(table)))
    zeros, rest = found[80:, 2], found[:80, 2]
    assert (zeros == zeros[0]).all() and rest.min() > zeros[0] + 1 and rest.std() > 0.3
    assert (np.abs(found[:, 3]) < 1e-6).all()  # the constant


@pytest.mark.parametrize("value", [1e30, -1e30, np.inf, -np.inf])
def test_huge_values_reach_the_edge(value, fitted):
    found = fitted.forward(jnp.full((1, 4), value, jnp.float32))
    np.testing.assert_allclose(found, np.sign(value) * 5.199, rtol=1e-2)


def test_what_is_undone_has_its_units_again(table, fitted):
    back = np.asarray(fitted.inverse(fitted.forward(jnp.asarray(table))))
    np.testing.assert_allclose(back[:, [0, 2, 3]], table[:, [0, 2, 3]], rtol=1e-2, atol=0.5)


def test_it_is_the_same_after_json(table, fitted):
    again = Quantiles.from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(again.values, fitted.values)
    with pytest.raises(ValueError, match="that rise in each column"):
        Quantiles.from_json({"values": [[1.0], [0.0]]})
