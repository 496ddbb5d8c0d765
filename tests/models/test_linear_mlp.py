"""The linear model and the perceptron compute their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain import initializers
from dltrain.models.linear import Linear
from dltrain.models.mlp import MLP
from dltrain.types import ArraySpec, Kind, Spec, Task

REGRESSION = Spec(ArraySpec((3,), "float32"), ArraySpec((2,), "float32"), Task.REGRESSION, Kind.TABLE)


def test_a_linear_model_starts_at_zero_and_is_one_affine_map(spec, arrays):
    model = Linear(spec=spec, rngs=nnx.Rngs(0))
    assert not any(leaf.any() for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    model = Linear(spec=spec, rngs=nnx.Rngs(0), kernel_init=initializers.normal(), bias_init=initializers.normal())
    kernel, bias = np.asarray(model.head.kernel[...]), np.asarray(model.head.bias[...])
    expected = arrays["inputs"].reshape(60, 16) @ kernel + bias
    np.testing.assert_allclose(model(arrays["inputs"], mask=None, rngs=None), expected, rtol=1e-5, atol=1e-6)
    assert expected.shape == (60, 3)


def test_a_perceptron_is_affine_maps_with_the_activation_between_them_and_none_at_the_end():
    model = MLP((4, 5), spec=REGRESSION, rngs=nnx.Rngs(0), activation=jnp.tanh, bias_init=initializers.normal())
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    a = x.astype(np.float64)
    for layer in model.hidden:
        a = np.tanh(a @ np.asarray(layer.kernel[...], float) + np.asarray(layer.bias[...], float))
    expected = a @ np.asarray(model.head.kernel[...], float) + np.asarray(model.head.bias[...], float)
    found = model(x, mask=None, rngs=None)
    assert found.shape == (7, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_without_hidden_layers_it_is_linear():
    model = MLP((), spec=REGRESSION, rngs=nnx.Rngs(0))
    assert len(model.hidden) == 0
    assert model.head.kernel.shape == (3, 2)


def test_dropout_drops_that_share_of_hidden_units_in_train_mode_only():
    model = MLP((2000,), spec=REGRESSION, rngs=nnx.Rngs(0), dropout=0.25, activation=jnp.ones_like)
    model.head.kernel[...] = jnp.ones_like(model.head.kernel[...])  # so that the output counts what is left
    x = jnp.zeros((1, 3))
    model.eval()
    assert model(x, mask=None, rngs=None)[0, 0] == 2000
    model.train()
    one, other = (float(model(x, mask=None, rngs=nnx.Rngs(dropout=seed))[0, 0]) * 0.75 for seed in (1, 2))
    assert one == pytest.approx(1500, abs=80)  # four deviations of a binomial
    assert one != other
