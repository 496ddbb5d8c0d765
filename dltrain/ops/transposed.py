"""Transposed convolution: what takes a picture to one `stride` times as large, as one matrix product."""

from functools import reduce

import jax
import jax.numpy as jnp

Array = jax.Array


def conv_transpose(x: Array, kernel: Array, stride: int) -> Array:
    """Add up a copy of the kernel for each pixel, `stride` apart: [B, H, W, C], [k, k, C, K] -> [B, sH, sW, K].

    It is the gradient of a convolution with padding (k - s) / 2 by its input: PyTorch's `conv_transpose2d` with
    that padding. k must be a multiple of s and k - s even. The product gives each pixel its k x k patch, and
    patches overlap in k / s shifts along each axis: no dilated input, most of which would be zeros.
    """
    size, (b, h, w, _) = kernel.shape[0], x.shape
    shifts, border = size // stride, (size - stride) // 2
    if kernel.shape[1] != size or size % stride or (size - stride) % 2:
        raise ValueError(f"kernel={size}: cannot be transposed with stride {stride}; try kernel={2 * stride}")
    patches = jnp.einsum("bhwc,ijck->bhwijk", x, kernel)
    patches = patches.reshape(b, h, w, shifts, stride, shifts, stride, -1)
    more = shifts - 1

    def shifted(i: int, j: int) -> Array:
        pads = ((0, 0), (i, more - i), (j, more - j), (0, 0), (0, 0), (0, 0))
        return jnp.pad(patches[:, :, :, i, :, j], pads)

    total = reduce(jnp.add, [shifted(i, j) for i in range(shifts) for j in range(shifts)])
    total = total.transpose(0, 1, 3, 2, 4, 5).reshape(b, stride * (h + more), stride * (w + more), -1)
    return total[:, border : border + stride * h, border : border + stride * w]
