"""Recurrent networks over a sequence, or over the rows of a picture."""

from enum import StrEnum
from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import rematerialised
from dltrain.ops.recurrent import lstm
from dltrain.types import Array, Initializer, Kind, Spec


class Pooling(StrEnum):
    """How the hidden states of all steps become one vector."""

    LAST = "last"  # the last state of each direction
    MEAN = "mean"
    MAX = "max"


class LSTMLayer(nnx.Module):
    """One layer of long short-term memory in one direction, [B, L, F] -> [B, L, H] and the last state [B, H].

    The bias holds the gates in the order input, forget, candidate, output; the forget gate's starts at
    `forget_bias`, so that the cell remembers at first (Gers et al. 2000; Jozefowicz et al. 2015).
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        rngs: nnx.Rngs,
        forget_bias: float,
        kernel_init: Initializer,
        recurrent_init: Initializer,
    ) -> None:
        """Build the weights, a product for all four gates at once."""
        key = rngs.params()
        squares = [recurrent_init(rngs.params(), (hidden, hidden)) for _ in range(4)]
        self.kernel = nnx.Param(kernel_init(key, (features, 4 * hidden)))
        self.recurrent = nnx.Param(jnp.concatenate(squares, axis=1))
        self.bias = nnx.Param(jnp.zeros(4 * hidden).at[hidden : 2 * hidden].set(forget_bias))

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return all hidden states and the last."""
        states, (_, last) = lstm(x, self.kernel[...], self.recurrent[...], self.bias[...])
        return states, last


class LSTM(nnx.Module):
    """Long short-term memory, stacked and in one or both directions; [B, L, F] or [B, H, W, C] -> [B, outputs]."""

    def __init__(
        self,
        hidden: int = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        layers: int = 1,
        bidirectional: bool = False,
        pool: Pooling = Pooling.LAST,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            hidden: units of each layer and direction.
            spec: what the data delivers; a picture is read as a sequence of its rows.
            rngs: for the initial values.
            layers: how many layers, one on top of the other.
            bidirectional: also read from the end; the outputs of both directions are joined.
            pool: how the states of all steps become one vector.
            dropout: the probability to drop a unit between layers and before the output, not to keep it.
            forget_bias: initial bias of the forget gate.
            kernel_init: initial weights of the inputs.
            recurrent_init: initial weights of the hidden states, for each gate a square of its own.
            remat: compute the values inside each layer again in the backward pass, instead of keeping them.
        """
        if spec.kind is Kind.TABLE:
            raise ValueError(
                f"needs a sequence or a picture, and this data is a table of {spec.inputs.size} columns"
            )
        directions = 2 if bidirectional else 1
        _, *step = spec.inputs.shape
        features = [step[0] * (step[1] if len(step) > 1 else 1)] + [directions * hidden] * layers
        options: dict[str, Any] = {
            "forget_bias": forget_bias,
            "kernel_init": kernel_init,
            "recurrent_init": recurrent_init,
        }
        self.forward = nnx.List([LSTMLayer(f, hidden, rngs=rngs, **options) for f in features[:-1]])
        backward = features[:-1] if bidirectional else []
        self.backward = nnx.List([LSTMLayer(f, hidden, rngs=rngs, **options) for f in backward])
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(features[-1], spec.outputs, rngs=rngs)
        self.pool, self.remat = pool, remat

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        del mask  # rows do not see each other
        x = inputs.reshape(*inputs.shape[:2], -1)
        last = x[:, -1]
        read = rematerialised(lambda layer, x: layer(x), self.remat)
        for i, forward in enumerate(self.forward):
            x = x if i == 0 else self.dropout(x, rngs=rngs)
            states, last = read(forward, x)
            if self.backward:
                reverse, first = read(self.backward[i], x[:, ::-1])
                states, last = jnp.concatenate([states, reverse[:, ::-1]], -1), jnp.concatenate([last, first], -1)
            x = states
        match self.pool:
            case Pooling.LAST:
                x = last
            case Pooling.MEAN:
                x = x.mean(1)
            case Pooling.MAX:
                x = x.max(1)
        return self.head(self.dropout(x, rngs=rngs))
