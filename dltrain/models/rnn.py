"""Recurrent networks over a sequence, or over the rows of a picture: plain, LSTM and GRU."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import rematerialised
from dltrain.ops.recurrent import Squash, gru, lstm, rnn
from dltrain.types import Array, Initializer, Kind, Spec


class Pooling(StrEnum):
    """How the hidden states of all steps become one vector."""

    LAST = "last"  # the last state of each direction
    MEAN = "mean"
    MAX = "max"


def _kernels(
    features: int, hidden: int, gates: int, *, rngs: nnx.Rngs, kernel_init: Initializer, recurrent_init: Initializer
) -> tuple[nnx.Param, nnx.Param]:
    """Draw the weights of inputs [F, gates·H] and states [H, gates·H], the latter a square for each gate."""
    key = rngs.params()
    squares = [recurrent_init(rngs.params(), (hidden, hidden)) for _ in range(gates)]
    return nnx.Param(kernel_init(key, (features, gates * hidden))), nnx.Param(jnp.concatenate(squares, axis=1))


class RNNLayer(nnx.Module):
    """One plain recurrent layer in one direction, [B, L, F] -> [B, L, H] and the last state [B, H]."""

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, activation: Squash, **inits: Any) -> None:
        """Build the weights."""
        self.kernel, self.recurrent = _kernels(features, hidden, 1, rngs=rngs, **inits)
        self.bias = nnx.Param(jnp.zeros(hidden))
        self.activation = activation

    def __call__(self, x: Array, *, mask: Array | None = None) -> tuple[Array, Array]:
        """Return all hidden states and the last; a step whose mask [B, L] is False changes nothing."""
        weights = self.kernel[...], self.recurrent[...], self.bias[...]
        return rnn(x, *weights, activation=self.activation, mask=mask)


class LSTMLayer(nnx.Module):
    """One layer of long short-term memory in one direction, [B, L, F] -> [B, L, H] and the last state [B, H].

    The bias holds the gates in the order input, forget, candidate, output; the forget gate's starts at
    `forget_bias`, so that the cell remembers at first (Gers et al. 2000; Jozefowicz et al. 2015).
    """

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, forget_bias: float, **inits: Any) -> None:
        """Build the weights, a product for all four gates at once."""
        self.kernel, self.recurrent = _kernels(features, hidden, 4, rngs=rngs, **inits)
        self.bias = nnx.Param(jnp.zeros(4 * hidden).at[hidden : 2 * hidden].set(forget_bias))

    def __call__(self, x: Array, *, mask: Array | None = None) -> tuple[Array, Array]:
        """Return all hidden states and the last; a step whose mask [B, L] is False changes nothing."""
        states, (_, last) = lstm(x, self.kernel[...], self.recurrent[...], self.bias[...], mask=mask)
        return states, last


class GRULayer(nnx.Module):
    """One layer of gated recurrent units in one direction, [B, L, F] -> [B, L, H] and the last state [B, H].

    The bias holds the gates in the order reset, update, candidate; `recurrent_bias` stands inside the reset gate.
    """

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, **inits: Any) -> None:
        """Build the weights, a product for all three gates at once."""
        self.kernel, self.recurrent = _kernels(features, hidden, 3, rngs=rngs, **inits)
        self.bias, self.recurrent_bias = nnx.Param(jnp.zeros(3 * hidden)), nnx.Param(jnp.zeros(hidden))

    def __call__(self, x: Array, *, mask: Array | None = None) -> tuple[Array, Array]:
        """Return all hidden states and the last; a step whose mask [B, L] is False changes nothing."""
        weights = self.kernel[...], self.recurrent[...], self.bias[...], self.recurrent_bias[...]
        return gru(x, *weights, mask=mask)


class Recurrent(nnx.Module):
    """Layers over a sequence, stacked and in one or both directions; [B, L, F] or [B, H, W, C] -> [B, outputs].

    What `RNN`, `LSTM` and `GRU` share: they give it their layer.
    """

    def __init__(
        self,
        layer: Callable[..., Any],
        hidden: int,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        layers: int,
        bidirectional: bool,
        pool: Pooling,
        dropout: float,
        remat: bool,
        **options: Any,
    ) -> None:
        """Build the layers, each by `layer(features, hidden, rngs=rngs, **options)`, and the output.

        Args:
            layer: a class of layers; called with x [B, L, F], one returns all states and the last.
            hidden: units of each layer and direction.
            spec: what the data delivers; a picture is read as a sequence of its rows.
            rngs: for the initial values.
            layers: how many layers, one on top of the other.
            bidirectional: also read from the end; the outputs of both directions are joined.
            pool: how the states of all steps become one vector.
            dropout: the probability to drop a unit between layers and before the output, not to keep it.
            remat: compute the values inside each layer again in the backward pass, instead of keeping them.
            **options: what only this kind of layer takes.
        """
        if spec.kind is Kind.TABLE:
            raise ValueError(
                f"needs a sequence or a picture, and this data is a table of {spec.inputs.size} columns; "
                "try model=mlp"
            )
        directions = 2 if bidirectional else 1
        _, *step = spec.inputs.shape
        features = [step[0] * (step[1] if len(step) > 1 else 1)] + [directions * hidden] * layers
        self.forward = nnx.List([layer(f, hidden, rngs=rngs, **options) for f in features[:-1]])
        backward = features[:-1] if bidirectional else []
        self.backward = nnx.List([layer(f, hidden, rngs=rngs, **options) for f in backward])
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


class RNN(Recurrent):
    """The plain recurrent network (Elman 1990), arguments as of `Recurrent`."""

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
        activation: Squash = Squash.TANH,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        remat: bool = False,
    ) -> None:
        """Build the layers; `activation` is tanh or relu."""
        super().__init__(
            RNNLayer,
            hidden,
            spec=spec,
            rngs=rngs,
            layers=layers,
            bidirectional=bidirectional,
            pool=pool,
            dropout=dropout,
            remat=remat,
            activation=activation,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
        )


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), arguments as of `Recurrent`."""

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
        """Build the layers; `forget_bias` is the initial bias of the forget gates."""
        super().__init__(
            LSTMLayer,
            hidden,
            spec=spec,
            rngs=rngs,
            layers=layers,
            bidirectional=bidirectional,
            pool=pool,
            dropout=dropout,
            remat=remat,
            forget_bias=forget_bias,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
        )


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014, in the form of cuDNN and PyTorch), arguments as of `Recurrent`."""

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
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        remat: bool = False,
    ) -> None:
        """Build the layers."""
        super().__init__(
            GRULayer,
            hidden,
            spec=spec,
            rngs=rngs,
            layers=layers,
            bidirectional=bidirectional,
            pool=pool,
            dropout=dropout,
            remat=remat,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
        )
