"""Activations against closed forms, finite differences and PyTorch."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain import activations

pytestmark = pytest.mark.usefixtures("unoptimised")

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
    "gelu": ({}, X * [math.erfc(-x / math.sqrt(2)) / 2 for x in X]),  # erfc(-x) is 1 + erf(x) without its rounding
    "gelu, by tanh": ({"approximate": True}, X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))),
    "silu": ({}, X * expit(X)),
    "mish": ({}, X * np.tanh(np.log1p(np.exp(X)))),
    "softplus": ({}, np.log1p(np.exp(X))),
    "hard_sigmoid": ({}, np.clip(X / 6 + 0.5, 0, 1)),
    "softmax": ({}, np.exp(X - 40) / np.exp(X - 40).sum()),
    "log_softmax": ({}, X - 40 - np.log(np.exp(X - 40).sum())),
    "step": ({}, (X > 0).astype(float)),
    "sign": ({}, np.sign(X)),
}


def form(name):
    """The activation with the options of its form."""
    return functools.partial(getattr(activations, name.partition(",")[0]), **FORMS[name][0])


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("name", FORMS)
def test_values_equal_the_formula(name):
    with jax.enable_x64(True):
        found = form(name)(jnp.asarray(X))
    np.testing.assert_allclose(found, FORMS[name][1], rtol=1e-10, atol=1e-15)


@pytest.fixture(scope="module")
def slopes(strict_promotion):
    """Gradients of a weighted sum of each form, and its central differences in every coordinate, by one program."""
    x = np.array([-7.5, -3.5, -1.2, -0.3, 0.2, 1.0, 2.5, 7.0])  # away from the kinks at -3, 0, 3 and 6
    weights, h = np.linspace(-1, 2, len(x)), 1e-6

    @jax.jit
    def evaluate(x, around):
        def weighed(x, f):
            return (weights.reshape((1,) * (x.ndim - 1) + (-1,)) * f(x)).sum(-1)

        functions = {name: form(name) for name in FORMS}
        return {name: (jax.grad(weighed)(x, f), weighed(around, f)) for name, f in functions.items()}

    around = np.stack([x + s * h * np.eye(len(x)) for s in (-1, 1)])
    with jax.enable_x64(True):
        found = jax.device_get(evaluate(x, around))
    return {name: (gradient, (ends[1] - ends[0]) / (2 * h)) for name, (gradient, ends) in found.items()}


def test_every_activation_has_a_formula():
    assert {name.partition(",")[0] for name in FORMS} == set(activations.__all__)


@pytest.mark.parametrize("name", FORMS)
def test_gradients_equal_finite_differences(slopes, name):
    gradient, expected = slopes[name]
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", activations.__all__)
def test_dtype_is_kept(name):
    found = jax.eval_shape(getattr(activations, name), jax.ShapeDtypeStruct((3, 4), jnp.bfloat16))
    assert (found.shape, found.dtype) == ((3, 4), jnp.bfloat16)


def test_gradients_are_finite_at_extreme_values_and_zero():
    x = jnp.asarray([-1e4, 0.0, 1e4])

    @jax.jit
    def slopes(x):
        functions = {name: getattr(activations, name) for name in activations.__all__}
        return {name: jax.grad(lambda x, f=f: f(x).sum())(x) for name, f in functions.items()}

    assert all(np.isfinite(slope).all() for slope in jax.device_get(slopes(x)).values())


def test_slope_of_the_sigmoid_at_zero_is_a_quarter():
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
