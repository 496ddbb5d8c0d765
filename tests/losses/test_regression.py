"""Regression losses against float64 closed forms, finite differences and PyTorch; extreme outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import CASES, GOALS, NUMBERS, cases_of

from dltrain import losses

pytestmark = pytest.mark.usefixtures("unoptimised")

NAMES = cases_of("mse", "mae", "huber", "log_cosh", "quantile", "poisson")


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_equal_the_closed_form_in_float64(check_float64, name):
    check_float64(name)


@pytest.mark.parametrize("name", NAMES)
def test_float32_equals_float64(check_float32, name):
    check_float32(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_values_and_gradients_are_finite_at_extreme_outputs(check_finite, name, size):
    check_finite(name, size)


@pytest.mark.parametrize("name", ["huber", "log_cosh", "mae", "quantile"])
def test_errors_of_any_size_have_a_bounded_gradient(name):
    loss, options, *_ = CASES[name]
    z = jnp.asarray([[1e30], [-1e30]], jnp.float32)
    values, back = jax.vjp(lambda z: loss(z, {"targets": jnp.zeros((2, 1))}, **options), z)
    assert np.isfinite(values).all() and np.abs(back(jnp.ones(2))[0]).max() <= 1


@pytest.mark.parametrize(
    ("loss", "size", "value", "slope"),
    [
        (losses.mse, 1.8e19, 1.8e19**2, 3.6e19),
        (losses.exponential, 3e25, np.exp(30) * (3e25 - 29), np.exp(30)),
    ],
)
def test_large_errors_are_right_up_to_the_range_of_float32(loss, size, value, slope):
    z = jnp.asarray([[size], [-size]], jnp.float32)
    values, back = jax.vjp(lambda z: loss(z, {"targets": jnp.zeros((2, 1))}), z)
    np.testing.assert_allclose(values, value, rtol=1e-5)
    np.testing.assert_allclose(back(jnp.ones(2))[0], [[slope], [-slope]], rtol=1e-5)


def test_losses_equal_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    numbers, goals, kept = torch.tensor(NUMBERS), torch.tensor(GOALS), {"reduction": "none"}
    pairs = [
        (losses.mse, {}, NUMBERS, GOALS, F.mse_loss(numbers, goals, **kept).mean(1)),
        (losses.mae, {}, NUMBERS, GOALS, F.l1_loss(numbers, goals, **kept).mean(1)),
        (losses.huber, {"delta": 0.7}, NUMBERS, GOALS, F.huber_loss(numbers, goals, delta=0.7, **kept).mean(1)),
    ]
    with jax.enable_x64(True):
        for loss, options, outputs, targets, expected in pairs:
            values = loss(jnp.asarray(outputs), {"targets": jnp.asarray(targets)}, **options)
            np.testing.assert_allclose(values, expected.numpy(), rtol=1e-10, atol=1e-12, err_msg=loss.__name__)


def test_several_quantiles_are_one_loss_whose_parts_are_those_of_each():
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(7, 4, 2, 3)), rng.normal(size=(7, 4, 2))
    q = [0.1, 0.5, 0.9]
    error = targets[..., None] - outputs
    expected = np.maximum(np.array(q) * error, (np.array(q) - 1) * error).mean((1, 2, 3))
    batch = {"targets": jnp.asarray(targets, jnp.float32)}
    found = losses.quantile(jnp.asarray(outputs, jnp.float32), batch, q=q)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    each = [losses.quantile(jnp.asarray(outputs[..., i], jnp.float32), batch, q=one) for i, one in enumerate(q)]
    np.testing.assert_allclose(found, np.mean(each, 0), rtol=1e-5)


@pytest.mark.parametrize(
    ("q", "shape", "message"),
    [
        ([0.9, 0.1], (2, 3, 2), "expected quantiles in increasing order"),
        ([], (2, 3, 0), "expected quantiles in increasing order"),
        ([0.1, 0.9], (2, 3), r"expected outputs \[B, T, 2\] and targets \[B, T\]"),
    ],
)
def test_quantiles_out_of_order_and_other_outputs_are_refused(q, shape, message):
    with pytest.raises(ValueError, match=message):
        losses.quantile(jnp.zeros(shape), {"targets": jnp.zeros((2, 3))}, q=q)
