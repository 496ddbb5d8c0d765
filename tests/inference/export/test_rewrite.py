"""Rewritten functions give the same values, without the operations that jax2onnx cannot convert."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dltrain.inference.export.function import equations
from dltrain.inference.export.rewrite import simplified

X = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
TABLE = np.sort(np.random.default_rng(1).normal(size=(9, 5)), 0).astype(np.float32)


def columns(x):
    """Interpolate in a table of its own for each column, as scaling by quantiles does; the search is a loop."""
    parts = jnp.linspace(0.0, 1.0, 9)
    return jax.vmap(lambda column, table: jnp.interp(column, table, parts), (1, 1), 1)(x[:, 0], jnp.asarray(TABLE))


CASES = {
    "pad": (lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 3)), constant_values=7), "pad"),
    "cut": (lambda x: lax.pad(x, jnp.float32(0), [(0, 0, 0), (-1, 2, 0), (1, -2, 0)]), "pad"),
    "max": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2), (1, 2, 1), "SAME"), "reduce_window_max"),
    "sum": (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2), (1, 2, 2), "VALID"), "reduce_window_sum"),
    "edge": (lambda x: jnp.pad(x, ((0, 0), (0, 0), (2, 2)), mode="edge"), "none"),
    "interp": (columns, "none"),
    "unused": (lambda x: (jnp.pad(x, 1), x + 1)[1], "pad"),
    "inside": (lambda x: lax.fori_loop(0, 2, lambda i, y: jnp.pad(y, ((0, 0), (1, 0), (0, 0)))[:, :-1], x), "pad"),
}


@pytest.mark.parametrize("name", CASES)
def test_values_stay_and_the_operation_is_gone(name):
    function, operation = CASES[name]
    closed = jax.make_jaxpr(function)(X)
    again = jax.make_jaxpr(simplified(closed))(X)
    used = {equation.primitive.name for _, equation in equations(again)}
    assert operation not in used
    if name in ("edge", "interp"):  # no empty arrays, and no gather with batch dimensions
        for _, equation in equations(again):
            assert all(0 not in var.aval.shape for var in equation.invars)
            if equation.primitive.name == "gather":
                assert not equation.params["dimension_numbers"].operand_batching_dims
    np.testing.assert_allclose(simplified(closed)(X)[0], function(X), rtol=1e-6)
