"""Paths of the optimizers that evaluate the loss, computed by one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_formulas import LOOKING, VALLEY_START, from_yaml, valley

from dltrain.optimizers.extras import extras


@pytest.fixture(scope="module")
def looked(quick):
    """Paths of all of them in float64, by one program."""

    def path(yaml, options, rates):
        def rule(rate):
            return from_yaml(yaml)(learning_rate=rate, **options)

        def step(carried, rate):
            w, state = carried
            value, g = jax.value_and_grad(valley)(w)
            more = extras(rule(rate), value, g, jax.value_and_grad(valley))
            updates, state = rule(rate).update(g, state, w, **more)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        return jax.lax.scan(step, (jnp.asarray(VALLEY_START), rule(rates[0]).init(VALLEY_START)), rates)[1]

    with jax.enable_x64(True):
        paths = jax.jit(lambda: {n: path(*case) for n, case in LOOKING.items()}, compiler_options=quick)()
        return {name: np.concatenate([VALLEY_START[None], found]) for name, found in paths.items()}
