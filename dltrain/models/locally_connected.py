"""Locally connected networks: like convolutions, but without weight sharing between positions."""

import itertools
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from dltrain import initializers
from dltrain.models.cnn import Padding, Pool, Pooling, activated_and_pooled, size_after
from dltrain.models.layers import Dropout, Norm, make_norm, normalise, rematerialised
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.types import Activation, Array, Initializer, Kind, Spec


class LocalLayer(nnx.Module):
    """One layer, [B, H, W, C] -> [B, h, w, channels].

    kernel [h, w, kernel², C, channels] and bias [h, w, channels]: the h·w positions share no weights.
    """

    def __init__(
        self,
        inputs: tuple[int, int, int],
        channels: int,
        *,
        kernel: int,
        stride: int,
        padding: Padding,
        kernel_init: Initializer,
        bias_init: Initializer,
        rngs: nnx.Rngs,
    ) -> None:
        """Draw the weights of each position like a convolution's, so that they have the same variance."""
        height, width, depth = inputs
        places = tuple(size_after(size, kernel, stride, padding) for size in (height, width))
        keys = jax.random.split(rngs.params(), places)
        draw = jax.vmap(jax.vmap(lambda key: kernel_init(key, (kernel, kernel, depth, channels))))
        self.kernel = nnx.Param(draw(keys).reshape(*places, kernel**2, depth, channels))
        self.bias = nnx.Param(bias_init(rngs.params(), (*places, channels)))
        self.size, self.stride = kernel, stride
        pads = lax.padtype_to_pads((height, width), (kernel,) * 2, (stride,) * 2, padding.value.upper())
        self.pads = tuple(pads)

    def __call__(self, x: Array) -> Array:
        """Multiply the patch at each position by the weights of that position."""
        x = jnp.pad(x, ((0, 0), *self.pads, (0, 0)))
        h, w, _ = self.bias.shape
        reach = self.stride * (h - 1) + 1, self.stride * (w - 1) + 1
        taps = product(range(self.size), repeat=2)
        seen = [x[:, i : i + reach[0] : self.stride, j : j + reach[1] : self.stride] for i, j in taps]
        return jnp.einsum("bhwtc,hwtco->bhwo", jnp.stack(seen, 3), self.kernel[...]) + self.bias[...][None]


class LocallyConnected(nnx.Module):
    """Blocks of a locally connected layer, activation and pooling, then dense layers; [B, H, W, C] -> [B, outputs].

    LeCun 1989, "Generalization and network design strategies".
    """

    def __init__(
        self,
        channels: tuple[Size, ...] = (8, 16),
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
        dense: tuple[Size, ...] = (128,),
        dropout: Traced[BelowOne] = 0.0,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            channels: output channels of each block's layer.
            spec: features and task of the data; images.
            rngs: for the initial values.
            kernel: height and width of the patch at a position.
            stride: between the positions.
            padding: at the border.
            pool: kind of pooling after each block.
            window: height and width of the pooling.
            pool_stride: of the pooling; None: the window size, so that windows do not overlap.
            norm: after each locally connected layer, before the activation; batch norm over all positions.
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
        self.local, self.norms = nnx.List(), nnx.List()
        for block, out in enumerate(channels):
            after = [size_after(s, kernel, stride, padding, pooling) for s in (height, width)]
            if min(after) < 1:
                raise ValueError(
                    f"block {block} shrinks images of {spec.input.shape[:2]} to nothing; use fewer blocks"
                )
            inputs = height, width, depth
            layer = LocalLayer(inputs, out, kernel=kernel, stride=stride, padding=padding, **init)
            self.local.append(layer)
            self.norms.append(make_norm(norm, out, rngs=rngs))
            (height, width), depth = after, out
        sizes = (height * width * depth, *dense)
        self.dense = nnx.List([nnx.Linear(a, b, **init) for a, b in itertools.pairwise(sizes)])
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(sizes[-1], spec.outputs, **init)
        self.activation, self.pooling, self.remat = activation, pooling, remat

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        x = inputs
        block = rematerialised(self._block, self.remat)
        for layer, norm in zip(self.local, self.norms, strict=True):
            x = block(layer, norm, x, mask)
        x = x.reshape(x.shape[0], -1)
        if not self.dense:
            return self.head(self.dropout(x, rngs=rngs))
        for layer in self.dense:
            x = self.dropout(self.activation(layer(x)), rngs=rngs)
        return self.head(x)

    def _block(self, layer: LocalLayer, norm: Any, x: Array, mask: Array | None) -> Array:
        return activated_and_pooled(normalise(norm, layer(x), mask=mask), self.activation, self.pooling)
