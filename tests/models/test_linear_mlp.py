"""The linear model and the perceptron compute their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.models.linear import Linear
from dltrain.models.mlp import MLP
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

REGRESSION = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.NUMBERS, (2,), "float32")},
    Regression(),
)


def test_a_linear_model_starts_at_zero_and_is_one_affine_map(spec, arrays, filled, called):
    model = Linear(spec=spec, rngs=nnx.Rngs(0))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    model = filled(lambda rngs: Linear(spec=spec, rngs=rngs))
    expected = arrays["inputs"].reshape(60, 16) @ model.head.kernel[...] + model.head.bias[...][None]
    np.testing.assert_allclose(called(model, arrays["inputs"])[0], expected, rtol=1e-5, atol=1e-5)
    assert expected.shape == (60, 3)


def test_a_perceptron_is_affine_maps_with_the_activation_between_them_and_none_at_the_end(filled, called):
    model = filled(lambda rngs: MLP((4, 5), spec=REGRESSION, rngs=rngs, activation=jnp.tanh))
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    a = x.astype(np.float64)
    for layer in model.hidden:
        a = np.tanh(a @ layer.kernel[...] + layer.bias[...][None])
    found = called(model, x)[0]
    assert found.shape == (7, 2)
    np.testing.assert_allclose(found, a @ model.head.kernel[...] + model.head.bias[...][None], rtol=1e-5, atol=1e-5)


def test_without_hidden_layers_it_is_linear():
    model = nnx.eval_shape(lambda: MLP((), spec=REGRESSION, rngs=nnx.Rngs(0)))
    assert len(model.hidden) == 0
    assert model.head.kernel.shape == (3, 2)


def test_dropout_drops_that_share_of_hidden_units_in_train_mode_only(filled, called):
    model = filled(lambda rngs: MLP((2000,), spec=REGRESSION, rngs=rngs, dropout=0.25, activation=jnp.ones_like))
    model.head.kernel[...] = np.ones((2000, 2), np.float32)  # so that the output counts what is left
    model.head.bias[...] = np.zeros(2, np.float32)
    x = np.zeros((1, 3), np.float32)
    model.eval()
    assert called(model, x)[0][0, 0] == 2000
    model.train()
    one, other = (float(called(model, x, seed=seed)[0][0, 0]) * 0.75 for seed in (1, 2))
    assert one == pytest.approx(1500, abs=80)  # four deviations of a binomial
    assert one != other
