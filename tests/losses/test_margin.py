"""Margin losses against float64 closed forms and finite differences; extreme outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import cases_of

from dltrain import losses

pytestmark = pytest.mark.usefixtures("unoptimised")

NAMES = cases_of("hinge", "perceptron", "exponential")


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


@pytest.mark.parametrize("outputs", [jnp.zeros((2, 1)), jnp.zeros((2, 3))])
def test_perceptron_moves_weights_that_start_at_zero(outputs):
    gradient = jax.grad(lambda z: losses.perceptron(z, {"targets": jnp.asarray([0, 1])}).sum())(outputs)
    right = np.where(np.asarray([0, 1]) == 1, gradient[:, -1], -gradient[:, 0])
    if outputs.shape[1] == 1:
        np.testing.assert_array_equal(gradient[:, 0], [1, -1])
    else:
        np.testing.assert_array_equal(gradient[[0, 1], [0, 1]], [-1, -1])
    assert np.abs(right).max() > 0


def test_exponential_is_linear_above_its_limit():
    def slope(z):
        return jax.grad(lambda z: losses.exponential(z, {"targets": jnp.asarray([0])}, limit=3.0).sum())(z)[0]

    for z in (2.0, 3.0, 5.0):
        np.testing.assert_allclose(slope(jnp.asarray([z])), np.exp(min(z, 3)), rtol=1e-6)
