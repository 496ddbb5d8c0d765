"""The autoencoder: compresses an example to a short code and reconstructs it."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.layers import Dropout
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.types import Activation, Array, Initializer, Spec


class Autoencoder(nnx.Module):
    """Encoder, code, decoder: [B, ...] -> a reconstruction of the same shape.

    The encoder's layers are named as an MLP's are (`hidden.0`, ..., the last makes the code), so that an
    MLP can start from them (`model=mlp init_from=RUN`). Without hidden layers and activations its best code spans
    the principal components (Baldi and Hornik 1989).
    """

    def __init__(
        self,
        widths: tuple[Size, ...] = (128,),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        code: Size = 32,
        decoder: tuple[Size, ...] | None = None,
        activation: Activation = jax.nn.relu,
        code_activation: Activation = activations.identity,
        output: Activation = activations.identity,
        dropout: Traced[BelowOne] = 0.0,
        kernel_init: Initializer = initializers.he_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            widths: units of the encoder's hidden layers.
            spec: features and task of the data.
            rngs: for the initial values.
            code: size of the code.
            decoder: units of the decoder's hidden layers; None: the encoder's in reverse order.
            activation: of the hidden layers.
            code_activation: of the code.
            output: of the reconstruction; with `binary_cross_entropy`, which takes logits, identity.
            dropout: probability of dropping a unit of a hidden layer's output.
            kernel_init: initial weights.
            bias_init: initial biases.
        """
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        down = (spec.input.size, *widths, code)
        up = (code, *(widths[::-1] if decoder is None else decoder), spec.input.size)
        self.hidden = nnx.List([nnx.Linear(a, b, **init) for a, b in itertools.pairwise(down)])
        self.decoder = nnx.List([nnx.Linear(a, b, **init) for a, b in itertools.pairwise(up)])
        self.dropout = Dropout(dropout)
        self.activation, self.code_activation, self.output = activation, code_activation, output

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the reconstruction, float, shaped as the inputs."""
        del mask
        code = self.code_activation(self._through(self.hidden, inputs.reshape(inputs.shape[0], -1), rngs))
        return self.output(self._through(self.decoder, code, rngs)).reshape(inputs.shape)

    def encode(self, inputs: Array) -> Array:
        """Return the code, float [B, code]."""
        return self.code_activation(self._through(self.hidden, inputs.reshape(inputs.shape[0], -1), None))

    def _through(self, layers: Sequence[nnx.Linear], x: Array, rngs: nnx.Rngs | None) -> Array:
        *hidden, last = layers
        for layer in hidden:
            x = self.dropout(self.activation(layer(x)), rngs=rngs)
        return last(x)
