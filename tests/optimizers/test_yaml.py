"""Every YAML has a formula, descends, and accepts traced values and a mask of the weight decay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from omegaconf import OmegaConf
from optimizer_formulas import CONFIGS, FORMULAS, LOOKING, NAMES, from_yaml

from dltrain.optimizers.extras import extras


def test_every_yaml_is_compared_with_its_formula():
    assert {yaml for yaml, *_ in [*FORMULAS.values(), *LOOKING.values()]} | {"muon"} == set(NAMES)


PARAMS = {"kernel": jnp.asarray([[0.5, -1.0], [2.0, 1.5], [-0.3, 0.8]]), "bias": jnp.asarray([0.4, -0.6])}
MASK = {"kernel": True, "bias": False}


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_descends_inside_one_loop_with_a_traced_rate(name):
    rule = from_yaml(name)

    def loss(params):
        return sum(jnp.square(p - 0.1).sum() for p in jax.tree.leaves(params))

    @jax.jit
    def run(rate):
        def step(_, carried):
            params, state = carried
            transform = rule(learning_rate=rate)
            value, grads = jax.value_and_grad(loss)(params)
            more = extras(transform, value, grads, jax.value_and_grad(loss))
            updates, state = transform.update(grads, state, params, **more)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 25, step, (PARAMS, rule(learning_rate=rate).init(PARAMS)))

    params, _ = run(jnp.float32(0.02))
    assert float(loss(params)) < float(loss(PARAMS))
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(params))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_yaml_may_be_traced(name):
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    numbers = {k: jnp.float32(v) for k, v in node.items() if isinstance(v, float)}
    assert "learning_rate" in numbers
    rule = from_yaml(name)

    def step(numbers, params):
        optimizer = rule(**numbers)
        more = extras(optimizer, jnp.float32(1), params, lambda p: (jnp.float32(1), p))
        return optimizer.update(params, optimizer.init(params), params, **more)

    updates, state = jax.eval_shape(step, numbers, PARAMS)
    assert jax.tree.map(lambda u: u.shape, updates) == jax.tree.map(lambda p: p.shape, PARAMS)
    before = jax.eval_shape(lambda n: rule(**n).init(PARAMS), numbers)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), before) == jax.tree.map(lambda s: (s.shape, s.dtype), state)


@pytest.mark.parametrize("name", ["adamw", "lion", "lamb", "lars", "muon", "novograd", "schedule_free"])
def test_mask_excludes_biases_from_weight_decay(name):
    @jax.jit
    def step(params):
        rule = from_yaml(name)(learning_rate=0.1, weight_decay=0.5, mask=MASK)
        return rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)[0]

    updates = step(PARAMS)
    assert np.abs(updates["kernel"]).min() > 0 and np.abs(updates["bias"]).max() == 0
