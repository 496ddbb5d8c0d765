"""Normalisation: over the valid examples, or over each example's features, or none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.models.layers import Norm, make_norm, normalise

X = np.random.default_rng(0).normal(2.0, 3.0, (6, 4, 4, 5)).astype(np.float32)
MASK = np.array([True, False, True, True, False, True])


def normalised(x, scale, bias, up, valid):
    """Batch norm in float64: outputs, mean, variance, and what a gradient `up` of the outputs comes to below."""
    x, scale, bias, up = (a.astype(np.float64) for a in (x, scale, bias, up))
    axes = tuple(range(x.ndim - 1))
    mean, var = x[valid].mean(axes), x[valid].var(axes)
    y = (x - mean) / np.sqrt(var + 1e-5)
    through = up * scale
    there = y[valid], through[valid]
    below = through - there[1].mean(axes) - y * (there[0] * there[1]).mean(axes)
    below = np.where(valid.reshape(-1, *(1,) * len(axes)), below / np.sqrt(var + 1e-5), 0)
    return y * scale + bias, mean, var, (below, (up * y).sum(axes), up.sum(axes))


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("axes", [(0,), (0, 1, 2)])
def test_batch_norm_and_its_gradients_are_those_of_the_valid_examples(axes, mask, close, quick):
    x = X if len(axes) == 3 else X[:, 0, 0]
    valid, rng = np.ones(6, bool) if mask is None else mask, np.random.default_rng(1)
    up = rng.normal(size=x.shape).astype(np.float32) * valid.reshape(
        -1, *(1,) * len(axes)
    )  # a loss masks its examples
    scale, bias = rng.normal(1, 0.5, (2, 5)).astype(np.float32)
    graphdef, _, rest = nnx.split(make_norm(Norm.BATCH, 5, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def loss(x, scale, bias):
        norm = nnx.merge(graphdef, {"scale": scale, "bias": bias}, rest, copy=True)
        norm.train()
        found = normalise(norm, x, mask=mask)
        norm.eval()
        return (found * up).sum(), (found, norm.mean[...], norm.var[...], normalise(norm, x, mask=None))

    run = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True), compiler_options=quick)
    gradients, (found, mean, var, later) = run(x, scale, bias)
    expected, of_batch, spread, below = normalised(x, scale, bias, up, valid)
    close(np.asarray(found)[valid], expected[valid])
    close(mean, 0.1 * of_batch)
    close(var, 0.9 + 0.1 * spread)
    close(later, (x - 0.1 * of_batch) / np.sqrt(0.9 + 0.1 * spread + 1e-5) * scale + bias)
    for name, ours, theirs in zip(("x", "scale", "bias"), gradients, below, strict=True):
        close(ours, theirs, name)


def test_layer_norm_looks_at_each_place_alone():
    norm = make_norm(Norm.LAYER, 5, rngs=nnx.Rngs(0))
    found = normalise(norm, jnp.asarray(X), mask=jnp.asarray(MASK))
    expected = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_without_a_norm_there_is_no_norm_layer():
    assert make_norm(Norm.NONE, 5, rngs=nnx.Rngs(0)) is None
    x = jnp.asarray(X)
    assert normalise(None, x, mask=None) is x
