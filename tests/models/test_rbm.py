"""Boltzmann machines: energies by brute force, gradients by the textbook's outer products."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.engine.state import split_module
from dltrain.losses import contrastive_divergence
from dltrain.models.rbm import RBM
from dltrain.tasks import Energy
from dltrain.types import Feature, Kind, Spec

TABLE = Spec(
    {"numbers": Feature(Kind.NUMBERS, (4,), "float32")},
    {"target": Feature(Kind.NUMBERS, (4,), "float32")},
    Energy(),
)
V = np.random.default_rng(1).uniform(size=(6, 4)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def wide(model):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), split_module(model)[1])


def test_the_free_energy_sums_over_all_hidden_states(filled):
    model = filled(lambda rngs: RBM((3,), spec=TABLE, rngs=rngs))
    params = wide(model)
    w, c, b = params["hidden"][0]["kernel"], params["hidden"][0]["bias"], params["visible"][0]
    total = sum(np.exp(V @ b + h @ c + V @ w @ h) for h in map(np.array, itertools.product((0, 1), repeat=3)))
    np.testing.assert_allclose(model.free_energy(jnp.asarray(V)), -np.log(total), rtol=1e-5)


@pytest.mark.parametrize(("k", "draw_visible"), [(1, False), (3, True)])
def test_the_gradient_is_the_difference_of_outer_products(k, draw_visible, filled):
    model = filled(lambda rngs: RBM((3,), spec=TABLE, rngs=rngs, k=k, draw_visible=draw_visible))
    graphdef, params, rest = split_module(model)
    key = jax.random.key(7)

    def loss(params):
        outputs = nnx.merge(graphdef, params, rest, copy=True)(V, mask=None, rngs=nnx.Rngs(dropout=key))
        return contrastive_divergence(outputs, {}).mean()

    found = jax.jit(jax.grad(loss))(params)
    exact, rngs = wide(model), nnx.Rngs(dropout=key)
    w, c, b = exact["hidden"][0]["kernel"], exact["hidden"][0]["bias"], exact["visible"][0]

    def drawn(p):  # the same uniform numbers, compared with probabilities in float64
        return (np.asarray(jax.random.uniform(rngs.dropout(), p.shape), np.float64) < p).astype(np.float64)

    seen = drawn if draw_visible else np.asarray
    start = end = seen(V.astype(np.float64))
    for _ in range(k):
        end = seen(sigmoid(drawn(sigmoid(end @ w + c)) @ w.T + b))
    h, hk = sigmoid(start @ w + c), sigmoid(end @ w + c)
    rows = len(V)
    np.testing.assert_allclose(found["hidden"][0]["kernel"], -(start.T @ h - end.T @ hk) / rows, atol=1e-6)
    np.testing.assert_allclose(found["hidden"][0]["bias"], -(h - hk).mean(0), atol=1e-6)
    np.testing.assert_allclose(found["visible"][0], -(start - end).mean(0), atol=1e-6)


def test_without_rngs_a_stack_reconstructs_by_the_mean_field(filled):
    model = filled(lambda rngs: RBM((3, 2), spec=TABLE, rngs=rngs, k=4))
    layers, visible = wide(model)["hidden"], wide(model)["visible"]
    v = sigmoid(V @ layers[0]["kernel"] + layers[0]["bias"])
    p = sigmoid(sigmoid(v @ layers[1]["kernel"] + layers[1]["bias"]) @ layers[1]["kernel"].T + visible[1])
    outputs = model(jnp.asarray(V), mask=None, rngs=None)
    expected = sigmoid(p @ layers[0]["kernel"].T + visible[0])
    np.testing.assert_allclose(outputs["reconstruction"], expected, rtol=1e-5)
    w, c = layers[1]["kernel"], layers[1]["bias"]
    energy = [-(x @ visible[1]) - np.log1p(np.exp(x @ w + c)).sum(1) for x in (v, p)]
    np.testing.assert_allclose(outputs["data"], energy[0], rtol=1e-5)
    np.testing.assert_allclose(outputs["model"], energy[1], rtol=1e-5)


def test_only_the_last_layer_of_a_stack_learns(filled):
    graphdef, params, rest = split_module(filled(lambda rngs: RBM((3, 2), spec=TABLE, rngs=rngs)))

    def loss(params):
        model = nnx.merge(graphdef, params, rest, copy=True)
        return contrastive_divergence(model(V, mask=None, rngs=nnx.Rngs(dropout=0)), {}).mean()

    found = jax.jit(jax.grad(loss))(params)
    assert not any(np.any(x) for x in jax.tree.leaves((found["hidden"][0], found["visible"][0])))
    assert all(np.any(x) for x in jax.tree.leaves((found["hidden"][1], found["visible"][1])))


def test_samples_follow_the_biases_where_the_layers_know_nothing_of_each_other(filled):
    model = filled(lambda rngs: RBM((3,), spec=TABLE, rngs=rngs, sweeps=2))
    model.hidden[0].kernel[...] = jnp.zeros((4, 3))
    bias = np.array([-2.0, 0.0, 1.0, 3.0], np.float32)
    model.visible[0][...] = jnp.asarray(bias)
    found = model.sample(jax.random.key(0), 5)
    np.testing.assert_allclose(found, np.tile(sigmoid(bias), (5, 1)), rtol=1e-6)


def test_samples_come_as_often_as_their_probability_says(filled):
    model = filled(lambda rngs: RBM((2,), spec=TABLE, rngs=rngs, sweeps=30))
    states = np.array(list(itertools.product((0, 1), repeat=4)), np.float32)
    weights = np.exp(-np.asarray(model.free_energy(jnp.asarray(states)), np.float64))
    expected = (states * (weights / weights.sum())[:, None]).sum(0)
    found = np.asarray(jax.jit(lambda: model.sample(jax.random.key(0), 20000))())
    np.testing.assert_allclose(found.mean(0), expected, atol=0.015)
