"""What transformers are made of: attention of many heads, blocks, stacks of them, and positions."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import rematerialised
from dltrain.ops.attention import attention, attention_weights
from dltrain.types import Activation, Array, Initializer

Memory = tuple[Array, Array, Array | None]
"""What a block looks back at: keys and values, [B, H, L, D], and the mask of `ops.attention`."""

Kept = dict[str, Array]
"""What a stack of N blocks keeps of the steps before: `keys` and `values`, [N, B, H, L, D]."""


class Positions(StrEnum):
    """How a step says where it stands."""

    LEARNED = "learned"  # a vector for each position
    SINUSOIDAL = "sinusoidal"  # sines and cosines of many wavelengths


class Attention(nnx.Module):
    """Multi-head self-attention, [B, L, W] -> [B, L, W]; one product for queries, keys and values."""

    def __init__(self, width: int, heads: int, **init: Any) -> None:
        """Build the weights; `heads` divides `width`, `init` as of a dense layer."""
        self.qkv = nnx.Linear(width, 3 * width, **init)
        self.out = nnx.Linear(width, width, **init)
        self.heads = heads

    def __call__(self, x: Array, *, mask: Array | None) -> tuple[Array, tuple[Array, Array]]:
        """Return the result, and the keys and values, [B, H, L, D]; mask as of `ops.attention`."""
        queries, keys, values = _split(self.qkv(x), 3, self.heads)
        return self.out(_join(attention(queries, keys, values, mask=mask))), (keys, values)

    def step(self, x: Array, keys: Array, values: Array, position: Array) -> tuple[Array, tuple[Array, Array]]:
        """Let the step at `position`, [B, 1, W], look at itself and at those before, whose keys are given."""
        queries, key, value = _split(self.qkv(x), 3, self.heads)
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=2)
            for old, new in ((keys, key), (values, value))
        )
        mask = (jnp.arange(keys.shape[2]) <= position)[None, None, None, :]
        return self.out(_join(attention(queries, keys, values, mask=mask))), (keys, values)


class CrossAttention(nnx.Module):
    """Multi-head attention of the steps of one sequence over those of another, [B, M, W] -> [B, M, W]."""

    def __init__(self, width: int, heads: int, **init: Any) -> None:
        """Build the weights; `heads` divides `width`, `init` as of a dense layer."""
        self.query = nnx.Linear(width, width, **init)
        self.keys_values = nnx.Linear(width, 2 * width, **init)
        self.out = nnx.Linear(width, width, **init)
        self.heads = heads

    def remember(self, states: Array, mask: Array | None) -> Memory:
        """Return what can be looked back at: the states of the other sequence, [B, L, W]."""
        keys, values = _split(self.keys_values(states), 2, self.heads)
        return keys, values, mask

    def __call__(self, x: Array, memory: Memory) -> Array:
        """Look back."""
        keys, values, mask = memory
        return self.out(_join(attention(self._queries(x), keys, values, mask=mask)))

    def weights(self, x: Array, memory: Memory) -> Array:
        """Return where each head looks, [B, H, M, L]; sums over the last axis are 1."""
        keys, _, mask = memory
        return attention_weights(self._queries(x), keys, mask=mask)

    def _queries(self, x: Array) -> Array:
        return _split(self.query(x), 1, self.heads)[0]


class Block(nnx.Module):
    """Attention and two dense layers, each added to what it was given the normalised form of (pre-norm).

    With `cross` it looks back at another sequence in between.
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
        self.dropout, self.activation = nnx.Dropout(dropout), activation

    def __call__(
        self, x: Array, mask: Array | None, rngs: nnx.Rngs | None, memory: Memory | None = None
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return the states [B, L, W], and keys and values."""
        seen, kept = self.attention(self.norm_attention(x), mask=mask)
        return self._think(x + self.dropout(seen, rngs=rngs), memory, rngs), kept

    def step(
        self, x: Array, keys: Array, values: Array, position: Array, memory: Memory | None = None
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return the state of the step at `position`, [B, 1, W], and the keys and values with its own."""
        seen, kept = self.attention.step(self.norm_attention(x), keys, values, position)
        return self._think(x + seen, memory, None), kept

    def weights(self, x: Array, mask: Array | None, memory: Memory) -> Array:
        """Return where each head looks back, [B, H, M, L]."""
        seen, _ = self.attention(self.norm_attention(x), mask=mask)
        return self.cross.weights(self.norm_cross(x + seen), memory)

    def _think(self, x: Array, memory: Memory | None, rngs: nnx.Rngs | None) -> Array:
        if memory is not None:
            x = x + self.dropout(self.cross(self.norm_cross(x), memory), rngs=rngs)
        return x + self.dropout(self.down(self.activation(self.up(self.norm_dense(x)))), rngs=rngs)


def through(
    blocks: Sequence[Block],
    x: Array,
    mask: Array | None,
    rngs: nnx.Rngs | None,
    *,
    memories: Sequence[Memory | None] | None = None,
    remat: bool = False,
) -> tuple[Array, Kept]:
    """Send all steps through a stack, [B, L, W]; `memories`: of each block; `remat`: see `rematerialised`."""
    read, kept = rematerialised(lambda block, *given: block(*given), remat), []
    for block, memory in zip(blocks, memories or [None] * len(blocks), strict=True):
        x, own = read(block, x, mask, rngs, memory)
        kept.append(own)
    return x, _stacked(kept)


def step_through(
    blocks: Sequence[Block],
    x: Array,
    kept: Kept,
    position: Array,
    *,
    memories: Sequence[Memory | None] | None = None,
) -> tuple[Array, Kept]:
    """Send the step at `position` through a stack, [B, 1, W]."""
    new = []
    for i, (block, memory) in enumerate(zip(blocks, memories or [None] * len(blocks), strict=True)):
        x, own = block.step(x, kept["keys"][i], kept["values"][i], position, memory)
        new.append(own)
    return x, _stacked(new)


def nothing_kept(blocks: Sequence[Block], count: int, length: int) -> Kept:
    """Return room for the keys and values of `count` rows of `length` steps."""
    out, heads = blocks[0].attention.out.kernel, blocks[0].attention.heads
    nothing = jnp.zeros((len(blocks), count, heads, length, out.shape[0] // heads), out.dtype)
    return {"keys": nothing, "values": nothing}


def causal(length: int) -> Array:
    """Return the mask with which a step sees itself and those before, bool [1, 1, L, L]."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]


def check_width(width: int, heads: int, positions: Positions) -> None:
    """Raise ValueError unless the heads can share the width, and the positions fill it."""
    if width % heads:
        near = max(n for n in range(1, heads) if width % n == 0)
        raise ValueError(f"width={width} cannot be shared by heads={heads}; try heads={near}")
    if positions is Positions.SINUSOIDAL and width % 2:
        raise ValueError(f"positions=sinusoidal needs an even width, not {width}: half sines, half cosines")


def token_init(positions: Positions, chosen: Initializer | None) -> Initializer:
    """Return what draws the vectors of tokens: by default as large as the positions, or these would drown them."""
    return chosen or initializers.normal(0.02 if positions is Positions.LEARNED else 1.0)


def drawn_places(
    positions: Positions, length: int, width: int, *, init: Initializer | None, rngs: nnx.Rngs
) -> nnx.Param | None:
    """Draw what says where a step stands, [L, W], if that is to be learnt; `init`: None for the usual one."""
    if positions is Positions.LEARNED:
        return nnx.Param((init or initializers.normal(0.02))(rngs.params(), (length, width)))
    return None


def places(drawn: nnx.Param | None, length: int, like: nnx.Linear) -> Array:
    """Return what says where a step stands, [L, W]: what was drawn, or waves of the width and type of a layer."""
    kernel = like.kernel
    return jnp.asarray(sinusoidal(length, kernel.shape[0]), kernel.dtype) if drawn is None else drawn[...]


def sinusoidal(length: int, width: int) -> np.ndarray:
    """Return `sin(t / 10000^(2i/W))` at even and the cosine at odd columns, [L, W] (Vaswani et al. 2017)."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2)[None, :] / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, width)


def _split(x: Array, parts: int, heads: int) -> Array:
    """Cut [B, L, PW] into [P, B, H, L, D]."""
    return x.reshape(*x.shape[:2], parts, heads, -1).transpose(2, 0, 3, 1, 4)


def _join(x: Array) -> Array:
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def _stacked(kept: Sequence[tuple[Array, Array]]) -> Kept:
    keys, values = (jnp.stack(arrays) for arrays in zip(*kept, strict=True))
    return {"keys": keys, "values": values}
