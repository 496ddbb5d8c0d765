"""Embedding lookup and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.ops import embedding, lowering

TOKENS = np.array([[0, 2, 2], [1, 0, 2]], np.int32)
TABLE = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("stock", [False, True])
def test_tokens_are_looked_up_and_gradients_summed_by_token(stock):
    weights = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(np.float32)
    lowering.use(stock=stock)
    try:
        found = embedding.embed(jnp.asarray(TOKENS), jnp.asarray(TABLE))
        gradient = jax.grad(lambda table: (embedding.embed(TOKENS, table) * weights).sum())(jnp.asarray(TABLE))
    finally:
        lowering.use(stock=False)
    np.testing.assert_array_equal(found, TABLE[TOKENS])
    expected = np.zeros_like(TABLE)
    np.add.at(expected, TOKENS, weights)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


def test_token_outside_the_table_is_nan():
    assert np.isnan(embedding.embed(jnp.array([4]), jnp.asarray(TABLE))).all()
