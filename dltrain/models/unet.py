"""The U-Net: predicts a class for each pixel from the whole image and the pixel's neighbourhood."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import ConvTranspose, Dropout, Norm, make_norm, normalise
from dltrain.ops.conv import conv_general_dilated
from dltrain.ops.pool import max_pool
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.tasks import Level
from dltrain.types import Activation, Array, Initializer, Kind, Spec


class UNet(nnx.Module):
    """Images [B, H, W, C] -> logits [B, H, W, K]. Ronneberger et al., arXiv:1505.04597, with padding.

    Each level halves the image; the way up doubles it again and concatenates it with the output of the same level.
    """

    def __init__(
        self,
        channels: tuple[Size, ...] = (16, 32, 64),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        norm: Norm = Norm.BATCH,
        dropout: Traced[BelowOne] = 0.0,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = initializers.he_normal(),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            channels: of each level, from the full size down.
            spec: features and task of the data; images whose sides are divisible by 2^(levels - 1).
            rngs: for the initial values.
            norm: after each convolution, before the activation.
            dropout: probability of dropping a unit at the end of the way down.
            activation: of each convolution.
            kernel_init: initial weights of the convolutions.
            head_init: initial weights of the output.
            bias_init: initial biases.
        """
        if spec.input.kind is not Kind.IMAGE or spec.task.level is not Level.PIXEL:
            raise ValueError(
                f"needs images with a class for each pixel, but this data is {spec.input.kind.words} for "
                f"{spec.task}; try data=digit_masks"
            )
        height, width, depth = spec.input.shape
        times = 2 ** (len(channels) - 1)
        if height % times or width % times:
            raise ValueError(
                f"images of {height}x{width} cannot be halved {len(channels) - 1} times; use fewer model.channels"
            )
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.down, self.up, self.larger = nnx.List(), nnx.List(), nnx.List()
        for out in channels:
            self.down.append(_Block(depth, out, norm, activation, **init))
            depth = out
        for out in reversed(channels[:-1]):
            self.larger.append(ConvTranspose(depth, out, 2, 2, **init))
            self.up.append(_Block(2 * out, out, norm, activation, **init))
            depth = out
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(depth, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the logits, float [B, H, W, K]."""
        *down, bottom = self.down
        x, kept = inputs, []
        for block in down:
            kept.append(block(x, mask))
            x = max_pool(kept[-1], (2, 2), (2, 2))
        x = self.dropout(bottom(x, mask), rngs=rngs)
        for larger, block in zip(self.larger, self.up, strict=True):
            x = block(jnp.concatenate([kept.pop(), larger(x)], -1), mask)
        return self.head(x)


class _Block(nnx.Module):
    """Two 3x3 convolutions."""

    def __init__(
        self, depth: int, out: int, norm: Norm, activation: Activation, *, rngs: nnx.Rngs, **init: Any
    ) -> None:
        self.convolutions = nnx.List(
            [
                nnx.Conv(size, out, (3, 3), conv_general_dilated=conv_general_dilated, rngs=rngs, **init)
                for size in (depth, out)
            ]
        )
        self.norms = nnx.List([make_norm(norm, out, rngs=rngs) for _ in range(2)])
        self.activation = activation

    def __call__(self, x: Array, mask: Array | None) -> Array:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activation(normalise(norm, convolution(x), mask=mask))
        return x
