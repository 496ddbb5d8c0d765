"""Image captioning: a convolutional encoder and an LSTM decoder."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.cnn import CNN
from dltrain.models.layers import Dropout, Norm
from dltrain.models.recurrent import LSTMLayer, State
from dltrain.models.steps import Embedding, Names
from dltrain.ranges import BelowOne, Finite, Size, Traced
from dltrain.tasks import Generates, Regression
from dltrain.types import Activation, Array, Feature, Initializer, Kind, Spec


class Captioner(nnx.Module):
    """Images and the tokens generated so far -> the next token of each position, [B, L, V].

    The encoded image is the initial state of the decoder (in Vinyals et al., arXiv:1411.4555, it is the
    first input).
    """

    def __init__(
        self,
        hidden: Size = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        channels: tuple[Size, ...] = (32, 64),
        dense: tuple[Size, ...] = (128,),
        norm: Norm = Norm.NONE,
        embedding: Size = 64,
        dropout: Traced[BelowOne] = 0.0,
        forget_bias: Finite = 1.0,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        encoder_init: Initializer = initializers.lecun_normal(),
        embedding_init: Initializer = initializers.normal(0.02),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            hidden: units of the decoder.
            spec: features and task of the data; images to generate texts from.
            rngs: for the initial values.
            channels: output channels of each block of the encoder, a 3x3 convolution and 2x2 pooling.
            dense: units of the encoder's dense layers, before the output that is the decoder's initial state.
            norm: after each convolution.
            embedding: size of a token embedding.
            dropout: probability of dropping a unit of a dense layer or before the output.
            forget_bias: initial bias of the forget gates.
            activation: of the encoder.
            kernel_init: initial weights of the LSTM's inputs.
            recurrent_init: initial recurrent weights.
            encoder_init: initial weights of the encoder.
            embedding_init: initial token embeddings.
            head_init: initial weights of the output.
            bias_init: initial biases, except those of the forget gates.
        """
        if spec.input.kind is not Kind.IMAGE or spec.task.generates is not Generates.ANSWER:
            raise ValueError(
                f"generates texts from images, but this data is {spec.input.kind.words} for {spec.task}; "
                "try data=digit_captions"
            )
        state = {"state": Feature(Kind.NUMBERS, (2 * hidden,), "float32")}
        self.encoder = CNN(
            channels,
            spec=Spec({"image": spec.input}, state, Regression()),
            rngs=rngs,
            dense=dense,
            norm=norm,
            dropout=dropout,
            activation=activation,
            kernel_init=encoder_init,
            bias_init=bias_init,
        )
        self.names = Names.of(spec)
        self.embedding = Embedding(len(spec.target.vocabulary), embedding, rngs=rngs, init=embedding_init)
        inits: dict[str, Any] = {
            "kernel_init": kernel_init,
            "recurrent_init": recurrent_init,
            "bias_init": bias_init,
        }
        self.decoder = LSTMLayer(embedding, hidden, rngs=rngs, forget_bias=forget_bias, **inits)
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(hidden, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the logits, float [B, L, V]."""
        states, _ = self.decoder(
            self.embedding(self.names.fed(inputs)), initial=self._encode(inputs, mask=mask, rngs=rngs)
        )
        return self.head(self.dropout(states, rngs=rngs))

    def begin(self, inputs: Any, count: int) -> State:
        """Return the decoder's state before the first token; see `dltrain.types.Decoder`."""
        del count  # one per image
        return self._encode(inputs, mask=None, rngs=None)

    def decode(self, tokens: Array, cache: State) -> tuple[Array, State]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the state."""
        states, cache = self.decoder(self.embedding(tokens)[:, None], initial=cache)
        return self.head(states[:, 0]), cache

    def _encode(self, inputs: Any, **given: Any) -> State:
        cell, hidden = jnp.split(self.encoder(self.names.read(inputs)[0], **given), 2, -1)
        return cell, jnp.tanh(hidden)  # the range of an LSTM's hidden states
