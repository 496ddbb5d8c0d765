"""The transformer: an encoder that answers once a row, or a decoder that foretells each next token."""

from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.layers import rematerialised
from dltrain.models.steps import Embedding, check_steps, mean_of, taken_apart
from dltrain.ops.attention import attention
from dltrain.types import Activation, Array, Initializer, Kind, Spec, Task

Cache = dict[str, Array]
"""What the decoder knows: `tokens [B, L]` and at which `position []` the next will stand, and of each of N layers
`keys` and `values`, [N, B, H, L, D]."""


class Positions(StrEnum):
    """How a step says where it stands."""

    LEARNED = "learned"  # a vector for each position
    SINUSOIDAL = "sinusoidal"  # sines and cosines of many wavelengths


class Pool(StrEnum):
    """How the states of all steps become one vector."""

    MEAN = "mean"
    FIRST = "first"  # the state of the first step, which has seen all others


class Attention(nnx.Module):
    """Multi-head self-attention, [B, L, W] -> [B, L, W]; one product for queries, keys and values."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs, kernel_init: Initializer) -> None:
        """Build the weights; `heads` divides `width`."""
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs, kernel_init=kernel_init)
        self.out = nnx.Linear(width, width, rngs=rngs, kernel_init=kernel_init)
        self.heads = heads

    def __call__(self, x: Array, *, mask: Array | None) -> tuple[Array, tuple[Array, Array]]:
        """Return the result, and the keys and values, [B, H, L, D]; mask as of `ops.attention`."""
        queries, keys, values = self._split(x)
        return self._join(attention(queries, keys, values, mask=mask)), (keys, values)

    def step(self, x: Array, keys: Array, values: Array, position: Array) -> tuple[Array, tuple[Array, Array]]:
        """Let the step at `position`, [B, 1, W], look at itself and at those before, whose keys are given."""
        queries, key, value = self._split(x)
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=2)
            for old, new in ((keys, key), (values, value))
        )
        mask = (jnp.arange(keys.shape[2]) <= position)[None, None, None, :]
        return self._join(attention(queries, keys, values, mask=mask)), (keys, values)

    def _split(self, x: Array) -> Array:
        return self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).transpose(2, 0, 3, 1, 4)

    def _join(self, x: Array) -> Array:
        return self.out(x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1))


class Block(nnx.Module):
    """Attention and two dense layers, each added to what it was given the normalised form of (pre-norm)."""

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
    ) -> None:
        """Build the weights."""
        self.norm_attention = nnx.LayerNorm(width, rngs=rngs)
        self.attention = Attention(width, heads, rngs=rngs, kernel_init=kernel_init)
        self.norm_dense = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, feedforward, rngs=rngs, kernel_init=kernel_init)
        self.down = nnx.Linear(feedforward, width, rngs=rngs, kernel_init=kernel_init)
        self.dropout, self.activation = nnx.Dropout(dropout), activation

    def __call__(self, x: Array, mask: Array | None, rngs: nnx.Rngs | None) -> tuple[Array, tuple[Array, Array]]:
        """Return the states [B, L, W], and keys and values."""
        seen, kept = self.attention(self.norm_attention(x), mask=mask)
        return self._think(x + self.dropout(seen, rngs=rngs), rngs), kept

    def step(self, x: Array, keys: Array, values: Array, position: Array) -> tuple[Array, tuple[Array, Array]]:
        """Return the state of the step at `position`, [B, 1, W], and the keys and values with its own."""
        seen, kept = self.attention.step(self.norm_attention(x), keys, values, position)
        return self._think(x + seen, None), kept

    def _think(self, x: Array, rngs: nnx.Rngs | None) -> Array:
        return x + self.dropout(self.down(self.activation(self.up(self.norm_dense(x)))), rngs=rngs)


class Transformer(nnx.Module):
    """Tokens [B, L], sequences [B, L, F] or the rows of pictures -> [B, outputs]; of a language model [B, L, V].

    Pre-norm (Xiong et al., arXiv:2002.04745): the states are normalised before each part and once at the end.
    A language model sees no step behind its own; all others see every step that is there.
    """

    def __init__(
        self,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        feedforward: int = 512,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        dropout: float = 0.0,
        positions: Positions = Positions.LEARNED,
        pool: Pool = Pool.MEAN,
        activation: Activation = activations.gelu,
        kernel_init: Initializer = initializers.glorot_uniform(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            layers: blocks, one on top of the other.
            heads: of each attention; they share the width.
            width: of the states.
            feedforward: units between the two dense layers of a block.
            spec: what the data delivers; a picture is read as a sequence of its rows.
            rngs: for the initial values.
            dropout: the probability to drop a unit of the embedded steps or of what a part adds, not to keep it.
            positions: how a step says where it stands.
            pool: how the states become one vector; a language model answers at each step.
            activation: between the dense layers.
            kernel_init: initial weights of all products but the last.
            remat: compute the values inside each block again in the backward pass, instead of keeping them.
        """
        check_steps(spec)
        if width % heads:
            near = max(n for n in range(1, heads) if width % n == 0)
            raise ValueError(f"width={width} cannot be shared by heads={heads}; try heads={near}")
        if positions is Positions.SINUSOIDAL and width % 2:
            raise ValueError(f"positions=sinusoidal needs an even width, not {width}: half sines, half cosines")
        self.length, self.causal = spec.inputs.shape[0], spec.task is Task.LANGUAGE
        learned = positions is Positions.LEARNED
        if spec.kind is Kind.TOKENS:  # as large as the positions, or these would drown it
            init = initializers.normal(0.02 if learned else 1.0)
            self.embedding = Embedding(len(spec.vocabulary), width, rngs=rngs, init=init)
        else:
            features = spec.inputs.size // self.length
            self.embedding = nnx.Linear(features, width, rngs=rngs, kernel_init=kernel_init)
        shape = (self.length, width)
        self.positions = nnx.Param(initializers.normal(0.02)(rngs.params(), shape)) if learned else None
        parts: dict[str, Any] = {"dropout": dropout, "activation": activation, "kernel_init": kernel_init}
        self.blocks = nnx.List([Block(width, heads, feedforward, rngs=rngs, **parts) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(width, spec.outputs, rngs=rngs)
        self.pool, self.remat = pool, remat

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs] or [B, L, V]."""
        del mask  # rows do not see each other
        steps, there = taken_apart(inputs)
        x = self._read(steps, there, rngs)[0]
        if not self.causal:
            x = x[:, 0] if self.pool is Pool.FIRST else mean_of(x, there)
        return self.head(x)

    def begin(self, inputs: Any, count: int) -> Cache:
        """Return the cache before the first token; see `dltrain.types.Decoder`."""
        del inputs
        width, dtype = self.head.kernel.shape[0], self.head.kernel.dtype
        heads = self.blocks[0].attention.heads
        nothing = jnp.zeros((len(self.blocks), count, heads, self.length, width // heads), dtype)
        tokens = jnp.zeros((count, self.length), jnp.int32)
        return {"tokens": tokens, "position": jnp.int32(0), "keys": nothing, "values": nothing}

    def decode(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the cache.

        When all positions are taken, the older half of what was read is forgotten: the rest is read again from
        position 0 on, since the positions are part of the keys.
        """
        cache = jax.lax.cond(cache["position"] == self.length, self._forget, lambda cache: cache, cache)
        at = cache["position"]
        where = jax.lax.dynamic_slice_in_dim(self._places(), at, 1)
        x = self.embedding(tokens[:, None]) + where[None]
        kept = []
        for i, block in enumerate(self.blocks):
            x, own = block.step(x, cache["keys"][i], cache["values"][i], at)
            kept.append(own)
        keys, values = (jnp.stack(arrays) for arrays in zip(*kept, strict=True))
        written = jax.lax.dynamic_update_slice_in_dim(
            cache["tokens"], tokens[:, None].astype(jnp.int32), at, axis=1
        )
        return self.head(self.norm(x))[:, 0], {
            "tokens": written,
            "position": at + 1,
            "keys": keys,
            "values": values,
        }

    def _forget(self, cache: Cache) -> Cache:
        half = self.length // 2
        tokens = jnp.roll(cache["tokens"], half - self.length, axis=1)  # what is behind the half is never looked at
        _, kept = self._read(tokens, None, None)
        keys, values = (jnp.stack(arrays) for arrays in zip(*kept, strict=True))
        return {"tokens": tokens, "position": jnp.int32(half), "keys": keys, "values": values}

    def _read(
        self, steps: Array, there: Array | None, rngs: nnx.Rngs | None
    ) -> tuple[Array, list[tuple[Array, Array]]]:
        """Return the states [B, L, W], and the keys and values of each block."""
        steps = steps.reshape(*steps.shape[:2], -1) if steps.ndim > 3 else steps
        x = self.dropout(self.embedding(steps) + self._places()[None], rngs=rngs)
        mask = None if there is None else there[:, None, None, :]
        if self.causal:
            before = jnp.tril(jnp.ones((self.length, self.length), bool))[None, None]
            mask = before if mask is None else before & mask
        # Only in training is there a way back, and a loop that decodes cannot take it.
        remat = self.remat and rngs is not None
        read, kept = rematerialised(lambda block, *given: block(*given), remat), []
        for block in self.blocks:
            x, own = read(block, x, mask, rngs)
            kept.append(own)
        return self.norm(x), kept

    def _places(self) -> Array:
        """Return what says where a step stands, [L, W]."""
        if self.positions is not None:
            return self.positions[...]
        return jnp.asarray(sinusoidal(self.length, self.head.kernel.shape[0]), self.head.kernel.dtype)


def sinusoidal(length: int, width: int) -> np.ndarray:
    """Return `sin(t / 10000^(2i/W))` at even and the cosine at odd columns, [L, W] (Vaswani et al. 2017)."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2)[None, :] / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, width)
