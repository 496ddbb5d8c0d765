"""Building blocks of transformers: multi-head attention, blocks, stacks of blocks, and positions."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain import initializers
from dltrain.errors import ConfigError
from dltrain.models.layers import Dropout, rematerialised
from dltrain.ops import divided
from dltrain.ops.attention import attention, attention_weights
from dltrain.types import Activation, Array, Initializer

Memory = tuple[Array, Array, Array | None]
"""What cross-attention attends to: keys and values, [B, H, L, D], and the mask of `ops.attention`."""

Kept = dict[str, Array]
"""Key-value cache of a stack of N blocks: `keys` and `values` of the previous steps, [N, B, H, L, D]."""


class Positions(StrEnum):
    """How the position of a step is encoded."""

    LEARNED = "learned"  # a vector for each position
    SINUSOIDAL = "sinusoidal"  # sines and cosines of many wavelengths


class Attention(nnx.Module):
    """Multi-head self-attention, [B, L, W] -> [B, L, W]; one matrix product for queries, keys and values."""

    def __init__(self, width: int, heads: int, **init: Any) -> None:
        """Build the weights; `heads` divides `width`, `init` are the options of a dense layer."""
        self.qkv = nnx.Linear(width, 3 * width, **init)
        self.out = nnx.Linear(width, width, **init)
        self.heads = heads

    def __call__(self, x: Array, *, mask: Array | None) -> tuple[Array, tuple[Array, Array]]:
        """Return the result, and the keys and values, [B, H, L, D]; mask as in `ops.attention`."""
        queries, keys, values = _projected(self.qkv, x, 3, self.heads)
        return self.out(_join(attention(queries, keys, values, mask=mask))), (keys, values)

    def step(self, x: Array, keys: Array, values: Array, position: Array) -> tuple[Array, tuple[Array, Array]]:
        """Attend from the step at `position`, [B, 1, W], to itself and the previous steps, whose keys are given."""
        queries, key, value = _split(self.qkv(x), 3, self.heads)
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=2)
            for old, new in ((keys, key), (values, value))
        )
        mask = (jnp.arange(keys.shape[2]) <= position)[None, None, None, :]
        return self.out(_join(attention(queries, keys, values, mask=mask))), (keys, values)


class CrossAttention(nnx.Module):
    """Multi-head attention from the steps of one sequence to those of another, [B, M, W] -> [B, M, W]."""

    def __init__(self, width: int, heads: int, **init: Any) -> None:
        """Build the weights; `heads` divides `width`, `init` are the options of a dense layer."""
        self.query = nnx.Linear(width, width, **init)
        self.keys_values = nnx.Linear(width, 2 * width, **init)
        self.out = nnx.Linear(width, width, **init)
        self.heads = heads

    def remember(self, states: Array, mask: Array | None) -> Memory:
        """Return keys and values of the other sequence, whose states are [B, L, W]."""
        keys, values = _projected(self.keys_values, states, 2, self.heads)
        return keys, values, mask

    def __call__(self, x: Array, memory: Memory) -> Array:
        """Attend to the other sequence."""
        keys, values, mask = memory
        return self.out(_join(attention(self._queries(x), keys, values, mask=mask)))

    def weights(self, x: Array, memory: Memory) -> Array:
        """Return the attention weights of each head, [B, H, M, L]; they sum to 1 over the last axis."""
        keys, _, mask = memory
        return attention_weights(self._queries(x), keys, mask=mask)

    def _queries(self, x: Array) -> Array:
        return _split(self.query(x), 1, self.heads)[0]


class Block(nnx.Module):
    """Attention and two dense layers, each with layer norm before it and a residual connection (pre-norm).

    With `cross`, cross-attention to another sequence comes in between.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        *,
        rngs: nnx.Rngs,
        dropout: float,
        activation: Activation,
        kernel_init: Initializer,
        bias_init: Initializer,
        cross: bool = False,
    ) -> None:
        """Build the weights."""
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.norm_attention = nnx.LayerNorm(width, rngs=rngs)
        self.attention = Attention(width, heads, **init)
        self.norm_dense = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, feedforward, **init)
        self.down = nnx.Linear(feedforward, width, **init)
        if cross:
            self.norm_cross = nnx.LayerNorm(width, rngs=rngs)
            self.cross = CrossAttention(width, heads, **init)
        self.dropout, self.activation = Dropout(dropout), activation

    def __call__(
        self, x: Array, mask: Array | None, rngs: nnx.Rngs | None, memory: Memory | None = None
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return the states [B, L, W], and keys and values."""
        seen, kept = self.attention(self.norm_attention(x), mask=mask)
        return self._finish(x + self.dropout(seen, rngs=rngs), memory, rngs), kept

    def step(
        self, x: Array, keys: Array, values: Array, position: Array, memory: Memory | None = None
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return the state of the step at `position`, [B, 1, W], and the keys and values including its own."""
        seen, kept = self.attention.step(self.norm_attention(x), keys, values, position)
        return self._finish(x + seen, memory, None), kept

    def weights(self, x: Array, mask: Array | None, memory: Memory) -> Array:
        """Return the cross-attention weights of each head, [B, H, M, L]."""
        seen, _ = self.attention(self.norm_attention(x), mask=mask)
        return self.cross.weights(self.norm_cross(x + seen), memory)

    def _finish(self, x: Array, memory: Memory | None, rngs: nnx.Rngs | None) -> Array:
        if memory is not None:
            x = x + self.dropout(self.cross(self.norm_cross(x), memory), rngs=rngs)
        return x + self.dropout(self.down(self.activation(self.up(self.norm_dense(x)))), rngs=rngs)


def apply_blocks(
    blocks: Sequence[Block],
    x: Array,
    mask: Array | None,
    rngs: nnx.Rngs | None,
    *,
    memories: Sequence[Memory | None] | None = None,
    remat: bool = False,
) -> tuple[Array, Kept]:
    """Apply a stack of blocks to all steps, [B, L, W]; `memories`: one per block; `remat`: see `rematerialised`."""
    read, kept = rematerialised(lambda block, *given: block(*given), remat), []
    for block, memory in zip(blocks, memories or [None] * len(blocks), strict=True):
        x, own = read(block, x, mask, rngs, memory)
        kept.append(own)
    return x, _stacked(kept)


def apply_to_step(
    blocks: Sequence[Block],
    x: Array,
    kept: Kept,
    position: Array,
    *,
    memories: Sequence[Memory | None] | None = None,
) -> tuple[Array, Kept]:
    """Apply a stack of blocks to the step at `position`, [B, 1, W]."""
    new = []
    for i, (block, memory) in enumerate(zip(blocks, memories or [None] * len(blocks), strict=True)):
        x, own = block.step(x, kept["keys"][i], kept["values"][i], position, memory)
        new.append(own)
    return x, _stacked(new)


def empty_cache(blocks: Sequence[Block], count: int, length: int) -> Kept:
    """Return an empty cache for the keys and values of `count` examples of `length` steps."""
    out, heads = blocks[0].attention.out.kernel, blocks[0].attention.heads
    nothing = jnp.zeros((len(blocks), count, heads, length, out.shape[0] // heads), out.dtype)
    return {"keys": nothing, "values": nothing}


def causal(length: int) -> Array:
    """Return the mask that lets a step attend to itself and the previous steps, bool [1, 1, L, L]."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]


def check_width(width: int, heads: int, positions: Positions) -> None:
    """Raise ValueError unless the heads divide the width, and sinusoidal positions have an even width."""
    if width % heads:
        near = max(n for n in range(1, heads) if width % n == 0)
        raise ValueError(f"width={width} is not divisible by heads={heads}; try heads={near}")
    if positions is Positions.SINUSOIDAL and width % 2:
        raise ValueError(f"positions=sinusoidal needs an even width, not {width}: half sines, half cosines")


def token_init(positions: Positions, chosen: Initializer | None) -> Initializer:
    """Return the initializer of the token embeddings; by default they are as large as the positions."""
    return chosen or initializers.normal(0.02 if positions is Positions.LEARNED else 1.0)


def learned_positions(
    positions: Positions, length: int, width: int, *, init: Initializer | None, rngs: nnx.Rngs
) -> nnx.Param | None:
    """Draw learned position embeddings, [L, W], None if not learned; `init`: None for normal(0.02)."""
    if positions is Positions.LEARNED:
        return nnx.Param((init or initializers.normal(0.02))(rngs.params(), (length, width)))
    return None


def position_embeddings(drawn: nnx.Param | None, length: int, like: nnx.Linear) -> Array:
    """Return the position embeddings, [L, W]: learned, or sinusoidal with the width and dtype of a layer."""
    kernel = like.kernel
    return jnp.asarray(sinusoidal(length, kernel.shape[0]), kernel.dtype) if drawn is None else drawn[...]


def sinusoidal(length: int, width: int) -> np.ndarray:
    """Return `sin(t / 10000^(2i/W))` in even columns and the cosine in odd ones, [L, W] (Vaswani et al. 2017)."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2)[None, :] / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, width)


def _projected(layer: nnx.Linear, x: Array, count: int, heads: int) -> Array:
    """Project [B, L, W] to `count` of queries, keys and values, [P, B, H, L, D], of all heads.

    If a mesh divides layers, each device does so for its heads. These are not adjacent columns of the kernel, so it
    is stored by rows, and sent around in each step: fewer bytes than the states of all examples.
    """
    if (parts := divided.parts()) == 1:
        return _split(layer(x), count, heads)
    if heads % parts:
        raise ConfigError(f"runtime.mesh: model: {parts} must divide the {heads} heads of the attention")
    assert layer.bias is not None
    kernel, bias = jnp.asarray(layer.kernel[...]), jnp.asarray(layer.bias[...])
    kernel = divided.along(kernel.reshape(len(kernel), count, heads, -1), 2)
    bias = divided.along(bias.reshape(count, 1, heads, 1, -1), 2)
    return jnp.einsum("blw,wphd->pbhld", x, kernel) + bias


def _split(x: Array, parts: int, heads: int) -> Array:
    """Cut [B, L, PW] into [P, B, H, L, D]."""
    return x.reshape(*x.shape[:2], parts, heads, -1).transpose(2, 0, 3, 1, 4)


def _join(x: Array) -> Array:
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def _stacked(kept: Sequence[tuple[Array, Array]]) -> Kept:
    keys, values = (jnp.stack(arrays) for arrays in zip(*kept, strict=True))
    return {"keys": keys, "values": values}
