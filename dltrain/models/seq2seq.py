"""Sequence to sequence with two LSTMs; the decoder attends to all states of the encoder."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.attention import weights_of
from dltrain.models.layers import Dropout
from dltrain.models.recurrent import LSTMLayer
from dltrain.models.steps import Embedding, Names
from dltrain.ranges import BelowOne, Finite, Size, Traced
from dltrain.tasks import Generates
from dltrain.types import Array, Initializer, Kind, Spec

Cache = dict[str, Any]
"""Cache of the decoder: `state` of its LSTM, the encoder's `states [B, L, H]`, and which are `valid [B, L]`."""


class Seq2Seq(nnx.Module):
    """Texts and the tokens generated so far -> the next token of each position, [B, L generated, V].

    The encoder reads in both directions. With its states s and the decoder's h, the weights are a = softmax(s·W h)
    and the logits linear in tanh(W'[Σ a s; h]) (Luong, Pham and Manning, arXiv:1508.04025, "general", without input
    feeding).
    """

    def __init__(
        self,
        hidden: Size = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        embedding: Size = 64,
        dropout: Traced[BelowOne] = 0.0,
        forget_bias: Finite = 1.0,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        embedding_init: Initializer = initializers.normal(0.02),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            hidden: units of the decoder; the encoder has half as many in each direction.
            spec: features and task of the data; texts to generate sequences from.
            rngs: for the initial values.
            embedding: size of the token embeddings of inputs and targets.
            dropout: probability of dropping a unit of an embedding or before the output.
            forget_bias: initial bias of the forget gates.
            kernel_init: initial weights of the LSTMs' inputs.
            recurrent_init: initial recurrent weights.
            embedding_init: initial token embeddings.
            head_init: initial weights of the attention, of the layer that combines it with the state, and of the
                output.
            bias_init: initial biases, except those of the forget gates.
        """
        check_texts(spec)
        if hidden % 2:
            raise ValueError(f"hidden={hidden}: must be even, half of it for each direction of the encoder")
        options: dict[str, Any] = {"kernel_init": kernel_init, "recurrent_init": recurrent_init}
        options |= {"rngs": rngs, "forget_bias": forget_bias, "bias_init": bias_init}
        self.names = Names.of(spec)
        self.embedding = Embedding(len(spec.input.vocabulary), embedding, rngs=rngs, init=embedding_init)
        self.forward = LSTMLayer(embedding, hidden // 2, **options)
        self.backward = LSTMLayer(embedding, hidden // 2, **options)
        self.decoder = LSTMLayer(embedding, hidden, **options)
        self.score = nnx.Linear(hidden, hidden, use_bias=False, kernel_init=head_init, rngs=rngs)
        self.combine = nnx.Linear(2 * hidden, hidden, use_bias=False, kernel_init=head_init, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(hidden, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the logits, float [B, L generated, V]."""
        del mask  # examples do not affect one another
        return self._teacher_forced(inputs, rngs)[0]

    def attention(self, inputs: Any) -> Array:
        """Return the attention weights of each target token, float [B, L generated, L], with sums of 1 over L."""
        return self._teacher_forced(inputs, None)[1]

    def begin(self, inputs: Any, count: int) -> Cache:
        """Return the cache before the first token; see `dltrain.types.Decoder`."""
        del count  # one per text
        return self._encode(inputs, None)

    def decode(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the cache."""
        states, state = self.decoder(self.embedding(tokens)[:, None], initial=cache["state"])
        return self._attend(states, cache, None)[0][:, 0], {**cache, "state": state}

    def _teacher_forced(self, inputs: Any, rngs: nnx.Rngs | None) -> tuple[Array, Array]:
        cache = self._encode(inputs, rngs)
        states, _ = self.decoder(
            self.dropout(self.embedding(self.names.fed(inputs)), rngs=rngs), initial=cache["state"]
        )
        return self._attend(states, cache, rngs)

    def _encode(self, inputs: Any, rngs: nnx.Rngs | None) -> Cache:
        tokens, valid = self.names.read(inputs)
        valid = jnp.ones(tokens.shape, bool) if valid is None else valid
        x = self.dropout(self.embedding(tokens), rngs=rngs)
        states, (cell, hidden) = self.forward(x, mask=valid)
        back, (first_cell, first_hidden) = self.backward(x[:, ::-1], mask=valid[:, ::-1])
        last = jnp.concatenate([cell, first_cell], -1), jnp.concatenate([hidden, first_hidden], -1)
        return {"state": last, "states": jnp.concatenate([states, back[:, ::-1]], -1), "valid": valid}

    def _attend(self, states: Array, cache: Cache, rngs: nnx.Rngs | None) -> tuple[Array, Array]:
        """Return logits [B, L generated, V] and attention weights [B, L generated, L] for the decoder's states."""
        scores = jnp.einsum("bth,bsh->bts", self.score(states), cache["states"])
        weights = weights_of(scores, cache["valid"][:, None, :])
        found = jnp.einsum("bts,bsh->bth", weights.astype(states.dtype), cache["states"])
        both = jnp.tanh(self.combine(jnp.concatenate([found, states], -1)))
        return self.head(self.dropout(both, rngs=rngs)), weights


def check_texts(spec: Spec) -> None:
    """Raise ValueError unless the data pairs texts with sequences to generate from them."""
    if spec.input.kind is not Kind.TOKENS or spec.task.generates is not Generates.ANSWER:
        raise ValueError(
            f"generates sequences from texts, but this data is {spec.input.kind.words} for {spec.task}; "
            "try data=reverse"
        )
