"""The encoder-decoder transformer: sequence to sequence by attention only."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.blocks import (
    Block,
    Memory,
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
from dltrain.models.seq2seq import check_texts
from dltrain.models.steps import Embedding, Names
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.types import Activation, Array, Initializer, Spec

Cache = dict[str, Any]
"""Cache of the decoder: the `position []` of the next token, the keys and values of the previous tokens (`Kept`),
and the `memories`: keys and values of the encoder's states, one for each block."""


class Seq2SeqTransformer(nnx.Module):
    """Texts and the tokens generated so far -> the next token of each position, [B, L generated, V].

    The encoder sees all steps of a text; the decoder sees the tokens generated so far and, in each block, the
    encoder's states (Vaswani et al., arXiv:1706.03762), pre-norm (Xiong et al., arXiv:2002.04745).
    """

    def __init__(
        self,
        layers: Size = 2,
        heads: Size = 4,
        width: Size = 128,
        feedforward: Size = 512,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        dropout: Traced[BelowOne] = 0.0,
        positions: Positions = Positions.LEARNED,
        activation: Activation = activations.gelu,
        kernel_init: Initializer = initializers.glorot_uniform(),
        embedding_init: Initializer | None = None,
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            layers: number of blocks of the encoder, and of the decoder.
            heads: of each attention; they share the width.
            width: of the states.
            feedforward: units between the two dense layers of a block.
            spec: features and task of the data; texts to generate sequences from.
            rngs: for the initial values.
            dropout: probability of dropping a unit of the embedded steps or of a sublayer's output.
            positions: how the position of a step is encoded.
            activation: between the dense layers.
            kernel_init: initial weights of all linear maps except the last.
            embedding_init: initial token embeddings and of learned positions; None: normal(0.02),
                and next to sinusoidal positions, which are larger, normal(1).
            head_init: initial weights of the last linear map.
            bias_init: initial biases.
            remat: recompute the values inside each block in the backward pass instead of storing them.
        """
        check_texts(spec)
        check_width(width, heads, positions)
        (self.source_length,), (self.target_length,) = spec.input.shape, spec.target.shape
        self.names = Names.of(spec)
        self.embedding = Embedding(
            len(spec.input.vocabulary), width, rngs=rngs, init=token_init(positions, embedding_init)
        )
        self.positions_read = learned_positions(
            positions, self.source_length, width, init=embedding_init, rngs=rngs
        )
        self.positions_written = learned_positions(
            positions, self.target_length, width, init=embedding_init, rngs=rngs
        )
        parts: dict[str, Any] = {"dropout": dropout, "activation": activation}
        parts |= {"kernel_init": kernel_init, "bias_init": bias_init}
        sizes = (width, heads, feedforward)
        self.encoder = nnx.List([Block(*sizes, rngs=rngs, **parts) for _ in range(layers)])
        self.norm_read = nnx.LayerNorm(width, rngs=rngs)
        self.decoder = nnx.List([Block(*sizes, rngs=rngs, cross=True, **parts) for _ in range(layers)])
        self.norm_written = nnx.LayerNorm(width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(width, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)
        self.remat = remat

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the logits, float [B, L generated, V]."""
        del mask  # examples do not affect one another
        x, memories = self._given(inputs, rngs)
        x, _ = apply_blocks(self.decoder, x, causal(self.target_length), rngs, memories=memories, remat=self.remat)
        return self.head(self.norm_written(x))

    def attention(self, inputs: Any) -> Array:
        """Return the attention weights of each target token, float [B, L generated, L], with sums of 1 over L.

        They are the mean over the heads of the last block.
        """
        x, memories = self._given(inputs, None)
        *earlier, (last, memory) = zip(self.decoder, memories, strict=True)
        for block, remembered in earlier:
            x, _ = block(x, causal(self.target_length), None, remembered)
        return last.weights(x, causal(self.target_length), memory).mean(1)

    def begin(self, inputs: Any, count: int) -> Cache:
        """Return the cache before the first token, with room for as many tokens as a target has; see `Decoder`."""
        kept = empty_cache(self.decoder, count, self.target_length)
        return {"position": jnp.int32(0), "memories": self._encode(inputs, None), **kept}

    def decode(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the cache."""
        at = cache["position"]
        where = jax.lax.dynamic_slice_in_dim(
            position_embeddings(self.positions_written, self.target_length, self.head), at, 1
        )
        x = self.embedding(tokens[:, None]) + where[None]
        x, kept = apply_to_step(self.decoder, x, cache, at, memories=cache["memories"])
        return self.head(self.norm_written(x))[:, 0], {**cache, "position": at + 1, **kept}

    def _given(self, inputs: Any, rngs: nnx.Rngs | None) -> tuple[Array, list[Memory]]:
        """Return the inputs of the decoder: the embedded tokens so far, and the memories of its blocks."""
        memories = self._encode(inputs, rngs)
        where = position_embeddings(self.positions_written, self.target_length, self.head)
        return self.dropout(self.embedding(self.names.fed(inputs)) + where[None], rngs=rngs), memories

    def _encode(self, inputs: Any, rngs: nnx.Rngs | None) -> list[Memory]:
        where = position_embeddings(self.positions_read, self.source_length, self.head)
        tokens, valid = self.names.read(inputs)
        x = self.dropout(self.embedding(tokens) + where[None], rngs=rngs)
        mask = None if valid is None else valid[:, None, None, :]
        x, _ = apply_blocks(self.encoder, x, mask, rngs, remat=self.remat)
        states = self.norm_read(x)
        return [block.cross.remember(states, mask) for block in self.decoder]
