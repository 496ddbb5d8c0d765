"""Convolutional networks: blocks of convolution, activation and pooling, then dense layers."""

import itertools
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import jax
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.layers import Dropout, Norm, make_norm, normalise, rematerialised
from dltrain.ops.conv import conv_general_dilated
from dltrain.ops.pool import avg_pool, max_pool
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.types import Activation, Array, Initializer, Kind, Spec


class Padding(StrEnum):
    """What a convolution does at the border."""

    SAME = "same"  # zero padding: the size is kept (divided by the stride)
    VALID = "valid"  # no padding: the size shrinks by kernel - 1


class Pool(StrEnum):
    """Pooling at the end of a block."""

    MAX = "max"
    AVERAGE = "average"
    NONE = "none"


class Pooling(NamedTuple):
    """Kind of pooling, height and width of its window, and its stride."""

    kind: Pool
    window: int
    stride: int


class HeadPooling(StrEnum):
    """How the last feature maps become one vector."""

    FLATTEN = "flatten"
    MEAN = "mean"
    MAX = "max"


class CNN(nnx.Module):
    """Images [B, H, W, C] -> [B, outputs]."""

    def __init__(
        self,
        channels: tuple[Size, ...] = (32, 64),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        kernel: Size = 3,
        stride: Size = 1,
        padding: Padding = Padding.SAME,
        pool: Pool = Pool.MAX,
        window: Size = 2,
        pool_stride: Size | None = None,
        norm: Norm = Norm.NONE,
        head_pooling: HeadPooling = HeadPooling.FLATTEN,
        dense: tuple[Size, ...] = (128,),
        dropout: Traced[BelowOne] = 0.0,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            channels: output channels of each block's convolution.
            spec: features and task of the data; images.
            rngs: for the initial values.
            kernel: height and width of the convolutions.
            stride: of the convolutions.
            padding: of the convolutions.
            pool: kind of pooling after each block.
            window: height and width of the pooling.
            pool_stride: of the pooling; None: the window size, so that windows do not overlap.
            norm: after each convolution, before the activation.
            head_pooling: how the last feature maps become one vector.
            dense: units of the hidden dense layers.
            dropout: probability of dropping a unit of a dense layer's output; without dense layers,
                of the vector that goes into the last one.
            activation: after each layer except the last.
            kernel_init: initial weights.
            bias_init: initial biases.
            remat: recompute the values inside each block in the backward pass instead of storing them.
        """
        if spec.input.kind is not Kind.IMAGE:
            raise ValueError(
                f"needs images, but this data is {spec.input.kind.words} of shape {spec.input.shape}; try model=mlp"
            )
        height, width, depth = spec.input.shape
        pooling = Pooling(pool, window, window if pool_stride is None else pool_stride)
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.convolutions, self.norms = nnx.List(), nnx.List()
        for block, out in enumerate(channels):
            convolution = nnx.Conv(
                depth,
                out,
                (kernel, kernel),
                stride,
                padding=padding.value.upper(),
                conv_general_dilated=conv_general_dilated,
                **init,
            )
            self.convolutions.append(convolution)
            self.norms.append(make_norm(norm, out, rngs=rngs))
            height, width = (size_after(s, kernel, stride, padding, pooling) for s in (height, width))
            depth = out
            if min(height, width) < 1:
                raise ValueError(
                    f"block {block} shrinks images of {spec.input.shape[:2]} to nothing; use fewer blocks"
                )
        features = depth * (height * width if head_pooling is HeadPooling.FLATTEN else 1)
        sizes = (features, *dense)
        self.dense = nnx.List([nnx.Linear(a, b, **init) for a, b in itertools.pairwise(sizes)])
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(sizes[-1], spec.outputs, **init)
        self.activation, self.pooling, self.head_pooling, self.remat = activation, pooling, head_pooling, remat

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        x = inputs
        block = rematerialised(self._block, self.remat)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = block(convolution, norm, x, mask)
        match self.head_pooling:
            case HeadPooling.FLATTEN:
                x = x.reshape(x.shape[0], -1)
            case HeadPooling.MEAN:
                x = x.mean((1, 2))
            case HeadPooling.MAX:
                x = x.max((1, 2))
        if not self.dense:
            return self.head(self.dropout(x, rngs=rngs))
        for layer in self.dense:
            x = self.dropout(self.activation(layer(x)), rngs=rngs)
        return self.head(x)

    def _block(self, convolution: nnx.Conv, norm: Any, x: Array, mask: Array | None) -> Array:
        return activated_and_pooled(normalise(norm, convolution(x), mask=mask), self.activation, self.pooling)


def activated_and_pooled(x: Array, activation: Activation, pooling: Pooling) -> Array:
    """Apply the activation to [B, H, W, C], then pool."""
    kind, window, stride = pooling
    if kind is Pool.NONE:
        return activation(x)
    of_window = max_pool if kind is Pool.MAX else avg_pool
    pool = partial(of_window, window_shape=(window, window), strides=(stride, stride))
    # relu commutes with max pooling: values and gradients are the same, since a window without a positive value has
    # no gradient, and relu keeps the positive values distinct. Applied after the pooling, it has a quarter of the
    # values to process: a convnet step takes 44 ms instead of 54; LeNet's is unchanged (batch 128, 28x28, 2 cores).
    if kind is Pool.MAX and activation in (activations.relu, jax.nn.relu):
        return activation(pool(x))
    return pool(activation(x))


def size_after(size: int, kernel: int, stride: int, padding: Padding, pooling: Pooling | None = None) -> int:
    """Return the height or width after a convolution and its pooling."""
    size = -(-size // stride) if padding is Padding.SAME else (size - kernel) // stride + 1
    if pooling is None or pooling.kind is Pool.NONE:
        return size
    return (size - pooling.window) // pooling.stride + 1
