"""The transformer: an encoder with one prediction per example, or a decoder that predicts each next token."""

from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.blocks import (
    Block,
    Kept,
    Positions,
    apply_blocks,
    apply_to_step,
    causal,
    check_width,
    empty_cache,
    learned_positions,
    position_embeddings,
    token_init,
)
from dltrain.models.layers import Dropout
from dltrain.models.steps import Embedding, Names, check_steps, mean_of
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.tasks import Level
from dltrain.types import Activation, Array, Initializer, Kind, Spec

Cache = dict[str, Array]
"""Cache of the decoder: the `tokens [B, L]` so far, the `position []` of the next one, and the keys and values of
the previous ones (`Kept`)."""


class Pool(StrEnum):
    """How the states of all steps become one vector."""

    MEAN = "mean"
    FIRST = "first"  # the state of the first step, which attends to all others


class Transformer(nnx.Module):
    """Tokens [B, L], sequences [B, L, F] or the rows of images -> [B, outputs]; of a language model [B, L, V].

    Pre-norm (Xiong et al., arXiv:2002.04745): the states are normalised before each sublayer and once at the end.
    In a language model a step attends only to itself and earlier steps, in all others to every valid step.
    """

    def __init__(
        self,
        layers: Size = 4,
        heads: Size = 4,
        width: Size = 128,
        feedforward: Size = 512,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        dropout: Traced[BelowOne] = 0.0,
        positions: Positions = Positions.LEARNED,
        pool: Pool = Pool.MEAN,
        activation: Activation = activations.gelu,
        kernel_init: Initializer = initializers.glorot_uniform(),
        embedding_init: Initializer | None = None,
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            layers: number of blocks.
            heads: of each attention; they share the width.
            width: of the states.
            feedforward: units between the two dense layers of a block.
            spec: features and task of the data; an image is read as a sequence of its rows.
            rngs: for the initial values.
            dropout: probability of dropping a unit of the embedded steps or of a sublayer's output.
            positions: how the position of a step is encoded.
            pool: how the states become one vector; a language model predicts at each step.
            activation: between the dense layers.
            kernel_init: initial weights of all linear maps except the last.
            embedding_init: initial token embeddings and of learned positions; None: normal(0.02),
                and next to sinusoidal positions, which are larger, normal(1).
            head_init: initial weights of the last linear map.
            bias_init: initial biases.
            remat: recompute the values inside each block in the backward pass instead of storing them.
        """
        check_steps(spec)
        check_width(width, heads, positions)
        self.names = Names.of(spec)
        self.length, self.causal = spec.input.shape[0], spec.task.level is Level.STEP
        if spec.input.kind is Kind.TOKENS:
            init = token_init(positions, embedding_init)
            self.embedding = Embedding(len(spec.input.vocabulary), width, rngs=rngs, init=init)
        else:
            features = spec.input.size // self.length
            self.embedding = nnx.Linear(features, width, rngs=rngs, kernel_init=kernel_init, bias_init=bias_init)
        self.positions = learned_positions(positions, self.length, width, init=embedding_init, rngs=rngs)
        parts: dict[str, Any] = {"dropout": dropout, "activation": activation}
        parts |= {"kernel_init": kernel_init, "bias_init": bias_init}
        self.blocks = nnx.List([Block(width, heads, feedforward, rngs=rngs, **parts) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(width, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)
        self.pool, self.remat = pool, remat

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs] or [B, L, V]."""
        del mask  # examples do not affect one another
        steps, valid = self.names.read(inputs)
        x = self._read(steps, valid, rngs)[0]
        if not self.causal:
            x = x[:, 0] if self.pool is Pool.FIRST else mean_of(x, valid)
        return self.head(x)

    def begin(self, inputs: Any, count: int) -> Cache:
        """Return the cache before the first token; see `dltrain.types.Decoder`."""
        del inputs
        tokens = jnp.zeros((count, self.length), jnp.int32)
        return {"tokens": tokens, "position": jnp.int32(0), **empty_cache(self.blocks, count, self.length)}

    def decode(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the cache.

        When all positions are taken, the older half of the tokens is dropped, and the rest is read again from
        position 0 on, since the positions are part of the keys.
        """
        cache = jax.lax.cond(cache["position"] == self.length, self._forget, lambda cache: cache, cache)
        at = cache["position"]
        where = jax.lax.dynamic_slice_in_dim(self._position_embeddings(), at, 1)
        x = self.embedding(tokens[:, None]) + where[None]
        x, kept = apply_to_step(self.blocks, x, cache, at)
        tokens_so_far = jax.lax.dynamic_update_slice_in_dim(
            cache["tokens"], tokens[:, None].astype(jnp.int32), at, axis=1
        )
        return self.head(self.norm(x))[:, 0], {"tokens": tokens_so_far, "position": at + 1, **kept}

    def _forget(self, cache: Cache) -> Cache:
        half = self.length // 2
        tokens = jnp.roll(cache["tokens"], half - self.length, axis=1)  # the rest is overwritten before it is read
        _, kept = self._read(tokens, None, None)
        return {"tokens": tokens, "position": jnp.int32(half), **kept}

    def _read(self, steps: Array, valid: Array | None, rngs: nnx.Rngs | None) -> tuple[Array, Kept]:
        """Return the states [B, L, W], and the keys and values of each block."""
        steps = steps.reshape(*steps.shape[:2], -1) if steps.ndim > 3 else steps
        x = self.dropout(self.embedding(steps) + self._position_embeddings()[None], rngs=rngs)
        mask = None if valid is None else valid[:, None, None, :]
        if self.causal:
            before = causal(self.length)
            mask = before if mask is None else before & mask
        # Only training has a backward pass, and remat does not work in a decoding loop.
        x, kept = apply_blocks(self.blocks, x, mask, rngs, remat=self.remat and rngs is not None)
        return self.norm(x), kept

    def _position_embeddings(self) -> Array:
        return position_embeddings(self.positions, self.length, self.head)
