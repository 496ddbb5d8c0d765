"""Residual networks for small images (He et al., arXiv:1512.03385): ResNet-20, 32, 56 and ResNet-18."""

from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import Dropout, Norm, make_norm, normalise, rematerialised
from dltrain.ops.conv import conv_general_dilated
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.types import Activation, Array, Initializer, Kind, Spec


class Shortcut(StrEnum):
    """Shortcut past a block whose output shape differs from its input shape."""

    PAD = "pad"  # every second position, zeros for the new channels: no parameters (option A of the paper)
    PROJECT = "project"  # a 1x1 convolution with the block's stride, and a norm (option B)


class Block(nnx.Module):
    """Two 3x3 convolutions and a shortcut, [B, H, W, C] -> [B, H/stride, W/stride, channels], rounded up."""

    def __init__(
        self,
        depth: int,
        channels: int,
        *,
        stride: int,
        shortcut: Shortcut,
        norm: Norm,
        activation: Activation,
        kernel_init: Initializer,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers; `depth` is the number of input channels."""
        options: dict[str, Any] = {"norm": norm, "kernel_init": kernel_init, "rngs": rngs}
        self.first, self.first_norm = _convolution(depth, channels, 3, stride, **options)
        self.second, self.second_norm = _convolution(channels, channels, 3, 1, **options)
        projects = shortcut is Shortcut.PROJECT and (stride, depth) != (1, channels)
        self.project, self.project_norm = (
            _convolution(depth, channels, 1, stride, **options) if projects else (None, None)
        )
        self.stride, self.new, self.activation = stride, channels - depth, activation

    def __call__(self, x: Array, mask: Array | None) -> Array:
        """Return `f(norm(W·f(norm(W·x))) + shortcut(x))`."""
        y = self.activation(normalise(self.first_norm, self.first(x), mask=mask))
        y = normalise(self.second_norm, self.second(y), mask=mask)
        if self.project is not None:
            x = normalise(self.project_norm, self.project(x), mask=mask)
        elif self.stride > 1 or self.new:
            x = jnp.pad(x[:, :: self.stride, :: self.stride], ((0, 0), (0, 0), (0, 0), (0, self.new)))
        return self.activation(x + y)


class ResNet(nnx.Module):
    """A 3x3 convolution, stages of blocks, global mean pooling, one dense layer; [B, H, W, C] -> [B, outputs].

    The first block of every stage except the first halves height and width. Depth by the paper's count is
    2·(number of blocks) + 2.
    """

    def __init__(
        self,
        channels: tuple[Size, ...] = (16, 32, 64),
        blocks: tuple[Size, ...] = (3, 3, 3),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        shortcut: Shortcut = Shortcut.PAD,
        norm: Norm = Norm.BATCH,
        dropout: Traced[BelowOne] = 0.0,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = initializers.he_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            channels: of each stage.
            blocks: number of blocks of each stage.
            spec: features and task of the data; images.
            rngs: for the initial values.
            shortcut: shortcut past a block whose output shape differs from its input shape.
            norm: after each convolution; the convolutions have no biases.
            dropout: probability of dropping a channel's mean before the output.
            activation: after the first convolution of a block, and after the sum.
            kernel_init: initial weights.
            bias_init: initial biases of the output.
            remat: recompute the values inside each block in the backward pass instead of storing them.
        """
        if spec.input.kind is not Kind.IMAGE:
            raise ValueError(
                f"needs images, but this data is {spec.input.kind.words} of shape {spec.input.shape}; try model=mlp"
            )
        if not channels or len(channels) != len(blocks):
            raise ValueError(f"channels={[*channels]} blocks={[*blocks]}: both need one entry per stage")
        if shortcut is Shortcut.PAD and sorted(channels) != list(channels):
            raise ValueError(
                f"shortcut=pad cannot reduce the number of channels: channels={[*channels]}; try shortcut=project"
            )
        options: dict[str, Any] = {"norm": norm, "kernel_init": kernel_init, "rngs": rngs}
        depth = channels[0]
        self.stem, self.stem_norm = _convolution(spec.input.shape[-1], depth, 3, 1, **options)
        self.blocks = nnx.List()
        for stage, (out, count) in enumerate(zip(channels, blocks, strict=True)):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                block = Block(depth, out, stride=stride, shortcut=shortcut, activation=activation, **options)
                self.blocks.append(block)
                depth = out
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(depth, spec.outputs, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)
        self.activation, self.remat = activation, remat

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        x = self.activation(normalise(self.stem_norm, self.stem(inputs), mask=mask))
        run = rematerialised(lambda block, x, mask: block(x, mask), self.remat)
        for block in self.blocks:
            x = run(block, x, mask)
        return self.head(self.dropout(x.mean((1, 2)), rngs=rngs))


def _convolution(
    depth: int, channels: int, size: int, stride: int, *, norm: Norm, kernel_init: Initializer, rngs: nnx.Rngs
) -> tuple[nnx.Conv, Any]:
    """Build a convolution and its norm; it pads both sides with zeros, also with a stride (as in PyTorch)."""
    convolution = nnx.Conv(
        depth,
        channels,
        (size, size),
        stride,
        padding=size // 2,
        use_bias=False,
        conv_general_dilated=conv_general_dilated,
        kernel_init=kernel_init,
        rngs=rngs,
    )
    return convolution, make_norm(norm, channels, rngs=rngs)
