"""Models without the seconds that drawing their initial values takes to compile."""

import jax
import numpy as np
import pytest
from flax import nnx


@pytest.fixture
def filled():
    """Make a module from `make_model(rngs)` and fill it with NumPy: parameters of both signs, variances above 0."""

    def fill(make_model):
        rng = np.random.default_rng(0)
        graphdef, params, rest = nnx.split(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))), nnx.Param, ...)
        params = jax.tree.map(lambda s: rng.normal(0, 0.4, s.shape).astype(s.dtype), params)
        rest = jax.tree.map(lambda s: rng.uniform(0.5, 1.5, s.shape).astype(s.dtype), rest)
        return nnx.merge(graphdef, params, rest)

    return fill


@pytest.fixture
def called():
    """Call a model in one compiled program, in the mode it is in: its outputs, and its state afterwards."""

    def call(model, inputs, *, mask=None, seed=0):
        graphdef, state = nnx.split(model)

        @jax.jit
        def run(state, inputs, mask):
            copy = nnx.merge(graphdef, state, copy=True)
            return copy(inputs, mask=mask, rngs=nnx.Rngs(dropout=seed)), nnx.state(copy)

        return run(state, inputs, mask)

    return call
