"""The transposed convolution equals the gradient of a convolution with respect to its input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from jax import lax

from dltrain.ops.transposed import conv_transpose

pytestmark = pytest.mark.usefixtures("unoptimised")


def by_definition(x, kernel, stride):
    """Differentiate the convolution of lax, with input and output channels exchanged."""
    pad = (kernel.shape[0] - stride) // 2
    shape = (x.shape[0], stride * x.shape[1], stride * x.shape[2], kernel.shape[3])

    def convolved(y):
        return lax.conv_general_dilated(
            y,
            jnp.swapaxes(kernel, 2, 3),
            (stride, stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    return jax.vjp(convolved, jnp.zeros(shape, x.dtype))[1](x)[0]


@few(("size", "stride"), [(2, 2), (4, 2), (3, 1), (9, 3)], 2)
def test_values_and_gradients_equal_the_definition(size, stride, x64):
    rng = np.random.default_rng(0)
    x, kernel = jnp.asarray(rng.normal(size=(2, 3, 4, 5))), jnp.asarray(rng.normal(size=(size, size, 5, 3)))
    expected, back = jax.vjp(lambda x, k: by_definition(x, k, stride), x, kernel)
    found, ours = jax.vjp(lambda x, k: conv_transpose(x, k, stride), x, kernel)
    given = jnp.asarray(rng.normal(size=expected.shape))
    for a, b in zip((found, *ours(given)), (expected, *back(given)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


def test_kernel_that_is_not_a_multiple_of_the_stride_is_an_error():
    with pytest.raises(ValueError, match=r"kernel=3 must be a multiple of stride=2 .*; try kernel=4"):
        conv_transpose(jnp.zeros((1, 2, 2, 1)), jnp.zeros((3, 3, 1, 1)), 2)
