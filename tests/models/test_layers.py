"""Normalisation: over the valid rows, or over each row's features, or none."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.models.layers import Norm, make_norm, normalise

X = np.random.default_rng(0).normal(2.0, 3.0, (6, 4, 4, 5)).astype(np.float32)
MASK = np.array([True, False, True, True, False, True])


@pytest.mark.parametrize("axes", [(0,), (0, 1, 2)])
def test_batch_norm_takes_its_statistics_from_the_valid_rows(axes):
    x = X if len(axes) == 3 else X[:, 0, 0]
    norm = make_norm(Norm.BATCH, 5, rngs=nnx.Rngs(0))
    norm.train()
    found = normalise(norm, jnp.asarray(x), mask=jnp.asarray(MASK))
    valid = x[MASK].astype(np.float64)
    mean, var = valid.mean(axes), valid.var(axes)
    np.testing.assert_allclose(np.asarray(found)[MASK], (valid - mean) / np.sqrt(var + 1e-5), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * var, rtol=1e-4)
    norm.eval()
    found = normalise(norm, jnp.asarray(x), mask=None)
    np.testing.assert_allclose(found, (x - 0.1 * mean) / np.sqrt(0.9 + 0.1 * var + 1e-5), rtol=1e-3, atol=1e-4)


def test_layer_norm_looks_at_each_place_alone():
    norm = make_norm(Norm.LAYER, 5, rngs=nnx.Rngs(0))
    found = normalise(norm, jnp.asarray(X), mask=jnp.asarray(MASK))
    expected = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_norm_is_no_layer():
    assert make_norm(Norm.NONE, 5, rngs=nnx.Rngs(0)) is None
    x = jnp.asarray(X)
    assert normalise(None, x, mask=None) is x
