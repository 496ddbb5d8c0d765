"""Transposed convolution, which enlarges an image `stride` times, as one matrix product.

Hand-written, since `lax.conv_transpose` is a convolution of a dilated input, mostly zeros, which is slow on a CPU.
"""

from functools import reduce

import jax
import jax.numpy as jnp

Array = jax.Array


def conv_transpose(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve transposed with stride s: x [B, H, W, C], kernel [k, k, C, K] -> [B, sH, sW, K].

    This is the gradient with respect to the input of a convolution with padding (k - s) / 2: PyTorch's
    `conv_transpose2d` with that padding. k must be a multiple of s and k - s even. The product gives each pixel its
    k x k patch, and patches overlap in k / s shifts along each axis.
    """
    size, (b, h, w, _) = kernel.shape[0], x.shape
    shifts, border = size // stride, (size - stride) // 2
    if kernel.shape[1] != size or size % stride or (size - stride) % 2:
        raise ValueError(
            f"kernel={size} must be a multiple of stride={stride} and differ from it by an even number; "
            f"try kernel={2 * stride}"
        )
    patches = jnp.einsum("bhwc,ijck->bhwijk", x, kernel)
    patches = patches.reshape(b, h, w, shifts, stride, shifts, stride, -1)
    extra = shifts - 1

    def shifted(i: int, j: int) -> Array:
        pads = ((0, 0), (i, extra - i), (j, extra - j), (0, 0), (0, 0), (0, 0))
        return jnp.pad(patches[:, :, :, i, :, j], pads)

    total = reduce(jnp.add, [shifted(i, j) for i in range(shifts) for j in range(shifts)])
    total = total.transpose(0, 1, 3, 2, 4, 5).reshape(b, stride * (h + extra), stride * (w + extra), -1)
    return total[:, border : border + stride * h, border : border + stride * w]
