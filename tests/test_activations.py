"""Activations against closed forms and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain import activations

X = np.array([-40.0, -3.5, -1.0, -0.3, 0.0, 0.2, 1.0, 2.5, 7.0, 40.0])


def expit(x):
    return 1 / (1 + np.exp(-x))


LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772
FORMS = {
    "identity": ({}, X),
    "sigmoid": ({}, expit(X)),
    "tanh": ({}, np.tanh(X)),
    "relu": ({}, np.maximum(X, 0)),
    "relu6": ({}, np.clip(X, 0, 6)),
    "leaky_relu": ({"alpha": 0.2}, np.where(X > 0, X, 0.2 * X)),
    "elu": ({"alpha": 0.5}, np.where(X > 0, X, 0.5 * np.expm1(X))),
    "selu": ({}, LAMBDA * np.where(X > 0, X, ALPHA * np.expm1(X))),
    "silu": ({}, X * expit(X)),
    "mish": ({}, X * np.tanh(np.log1p(np.exp(X)))),
    "softplus": ({}, np.log1p(np.exp(X))),
    "hard_sigmoid": ({}, np.clip(X / 6 + 0.5, 0, 1)),
    "softmax": ({}, np.exp(X - 40) / np.exp(X - 40).sum()),
    "log_softmax": ({}, X - 40 - np.log(np.exp(X - 40).sum())),
    "step": ({}, (X > 0).astype(float)),
    "sign": ({}, np.sign(X)),
}


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("name", FORMS)
def test_values_equal_the_formula(name):
    options, expected = FORMS[name]
    with jax.enable_x64(True):
        found = getattr(activations, name)(jnp.asarray(X), **options)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", activations.__all__)
def test_the_dtype_is_kept(name):
    found = jax.eval_shape(getattr(activations, name), jax.ShapeDtypeStruct((3, 4), jnp.bfloat16))
    assert (found.shape, found.dtype) == ((3, 4), jnp.bfloat16)


def test_gradients_are_finite_far_out_and_at_zero():
    x = jnp.asarray([-1e4, 0.0, 1e4])

    @jax.jit
    def slopes(x):
        functions = {name: getattr(activations, name) for name in activations.__all__}
        return {name: jax.grad(lambda x, f=f: f(x).sum())(x) for name, f in functions.items()}

    assert all(np.isfinite(slope).all() for slope in jax.device_get(slopes(x)).values())


def test_the_sigmoid_is_steepest_at_zero_with_a_quarter():
    slopes = jax.vmap(jax.grad(activations.sigmoid))(jnp.asarray([-0.5, 0.0, 0.5]))
    assert slopes[1] == 0.25 and slopes.max() == slopes[1]


def test_values_equal_pytorch():
    F = pytest.importorskip("torch").nn.functional
    torch = pytest.importorskip("torch")
    x = torch.tensor(X)
    with jax.enable_x64(True):
        for name in ("relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus"):
            found, expected = getattr(activations, name)(jnp.asarray(X)), getattr(F, name)(x).numpy()
            # PyTorch's softplus is the identity above 20, which is right to 2e-9.
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-14, err_msg=name)
        tanh = activations.gelu(jnp.asarray(X), approximate=True)
    np.testing.assert_allclose(tanh, F.gelu(x, approximate="tanh").numpy(), rtol=1e-8, atol=1e-14)
