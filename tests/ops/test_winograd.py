"""Winograd tiles equal sums over windows, exactly for small integers."""

import jax
import numpy as np
import pytest

from dltrain.ops import winograd

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture(params=[(6, 4), (5, 3)])
def problem(request):
    """Draw x, kernel and dy as integers: halves of their sums are exact in float32."""
    rng = np.random.default_rng(0)
    shapes = ((2, 8, 6, 3), (3, 3, 3, 4), (2, *request.param, 4))
    return [rng.integers(-9, 10, shape).astype("float32") for shape in shapes]


def places(x, dy):
    """Yield each position of the kernel with the inputs that it multiplies, with the size of the output."""
    rows, columns = dy.shape[1:3]
    return {(i, j): x[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)}


def test_value_equals_the_definition(problem):
    x, kernel, dy = problem
    expected = sum(cut @ kernel[place] for place, cut in places(x, dy).items())
    found = jax.jit(winograd.convolve)(x, kernel)
    assert found.shape == (2, 6, 4, 4)
    np.testing.assert_array_equal(found[:, : dy.shape[1], : dy.shape[2]], expected)


def test_input_gradient_equals_the_definition(problem):
    x, kernel, dy = problem
    expected = np.zeros_like(x)
    for place, cut in places(expected, dy).items():
        cut += dy @ kernel[place].T
    np.testing.assert_array_equal(jax.jit(winograd.input_gradient)(dy, kernel), expected)


def test_kernel_gradient_equals_the_definition(problem):
    x, kernel, dy = problem
    found = jax.jit(winograd.kernel_gradient)(x, dy)
    assert found.shape == kernel.shape
    for place, cut in places(x, dy).items():
        np.testing.assert_array_equal(found[place], np.einsum("brsc,brsk->ck", cut, dy))
