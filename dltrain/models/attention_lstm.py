"""An LSTM over a sequence, with attention over its states."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.attention import weights_of
from dltrain.models.layers import Dropout
from dltrain.models.recurrent import LSTMLayer
from dltrain.models.steps import Embedding, Names
from dltrain.ranges import BelowOne, Finite, Size, Traced
from dltrain.tasks import Level
from dltrain.types import Array, Initializer, Kind, Spec


class AttentionLSTM(nnx.Module):
    """Sequences, texts, or images read row by row -> [B, outputs].

    `a = softmax(v·tanh(W h + b))` over the valid steps, and the outputs are linear in `Σ a h` (Bahdanau et
    al., arXiv:1409.0473; with a learned query in place of a decoder's state: Yang et al. 2016, eq. 5 to 7).
    """

    def __init__(
        self,
        hidden: Size = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        bidirectional: bool = False,
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
            hidden: units of the LSTM in each direction.
            spec: features and task of the data; an image is read as a sequence of its rows.
            rngs: for the initial values.
            bidirectional: also read from the end; the states of both directions are concatenated.
            embedding: size of a token embedding, where the data is text.
            dropout: probability of dropping a unit before the output.
            forget_bias: initial bias of the forget gates.
            kernel_init: initial weights of the LSTM's inputs.
            recurrent_init: initial recurrent weights.
            embedding_init: initial token embeddings.
            head_init: initial weights of the attention and of the output.
            bias_init: initial biases, except those of the forget gates.
        """
        if spec.input.kind in (Kind.NUMBERS, Kind.NGRAMS) or spec.task.level is not Level.EXAMPLE:
            raise ValueError(
                "needs a sequence or an image with one target per example, but this data is "
                f"{spec.input.kind.words} for {spec.task}"
            )
        self.names = Names.of(spec)
        text = spec.input.kind is Kind.TOKENS
        table = len(spec.input.vocabulary), embedding
        self.embedding = Embedding(*table, rngs=rngs, init=embedding_init) if text else None
        features = embedding if text else spec.input.size // spec.input.shape[0]
        inits: dict[str, Any] = {
            "kernel_init": kernel_init,
            "recurrent_init": recurrent_init,
            "bias_init": bias_init,
        }
        directions = 2 if bidirectional else 1
        self.layers = nnx.List(
            [LSTMLayer(features, hidden, rngs=rngs, forget_bias=forget_bias, **inits) for _ in range(directions)]
        )
        width = hidden * directions
        self.score = nnx.Linear(width, hidden, kernel_init=head_init, bias_init=bias_init, rngs=rngs)
        self.query = nnx.Linear(hidden, 1, use_bias=False, kernel_init=head_init, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(width, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        del mask  # examples do not affect one another
        states, weights = self._read(inputs)
        mean = jnp.einsum("bl,blh->bh", weights.astype(states.dtype), states)
        return self.head(self.dropout(mean, rngs=rngs))

    def attention(self, inputs: Any) -> Array:
        """Return the attention weights of the steps, float [B, L]; they sum to 1 for each example."""
        return self._read(inputs)[1]

    def _read(self, inputs: Any) -> tuple[Array, Array]:
        """Return all states [B, L, H] and their attention weights [B, L]."""
        x, valid = self.names.read(inputs)
        x = self.embedding(x) if self.embedding else x.reshape(*x.shape[:2], -1)
        states = self.layers[0](x, mask=valid)[0]
        if len(self.layers) == 2:
            back = self.layers[1](x[:, ::-1], mask=None if valid is None else valid[:, ::-1])[0]
            states = jnp.concatenate([states, back[:, ::-1]], -1)
        scores = self.query(jnp.tanh(self.score(states)))[..., 0]
        return states, weights_of(scores, valid)
