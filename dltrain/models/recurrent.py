"""Recurrent layers in one direction: plain, LSTM and GRU, with any initial state."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain.ops.recurrent import Squash, gru, lstm, rnn
from dltrain.types import Array, Initializer

State = tuple[Array, ...]
"""Recurrent state of a layer, [B, H] each: the hidden state, of an LSTM (cell, hidden)."""


def _weights(
    features: int,
    hidden: int,
    gates: int,
    *,
    key: Array,
    rngs: nnx.Rngs,
    kernel_init: Initializer,
    recurrent_init: Initializer,
    bias_init: Initializer,
) -> tuple[nnx.Param, nnx.Param, nnx.Param]:
    """Draw the weights of inputs [F, gates·H] and states [H, gates·H], a square matrix per gate, and biases."""
    squares = [recurrent_init(rngs.params(), (hidden, hidden)) for _ in range(gates)]
    bias = bias_init(jax.random.fold_in(key, 1), (gates * hidden,))
    kernel = kernel_init(key, (features, gates * hidden))
    return nnx.Param(kernel), nnx.Param(jnp.concatenate(squares, axis=1)), nnx.Param(bias)


class RNNLayer(nnx.Module):
    """One plain recurrent layer in one direction, [B, L, F] -> [B, L, H] and the last `State`."""

    remembers = 1

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, activation: Squash, **inits: Any) -> None:
        """Build the weights."""
        weights = _weights(features, hidden, 1, key=rngs.params(), rngs=rngs, **inits)
        self.kernel, self.recurrent, self.bias = weights
        self.activation = activation

    def __call__(self, x: Array, *, initial: State | None = None, mask: Array | None = None) -> tuple[Array, State]:
        """Return all hidden states and the last state; a step whose mask [B, L] is False changes nothing."""
        weights = self.kernel[...], self.recurrent[...], self.bias[...]
        first = initial[-1] if initial else None
        states, last = rnn(x, *weights, activation=self.activation, initial=first, mask=mask)
        return states, (last,)


class LSTMLayer(nnx.Module):
    """One layer of long short-term memory in one direction, [B, L, F] -> [B, L, H] and the last `State`.

    The bias holds the gates in the order input, forget, candidate, output; that of the forget gate
    starts at `forget_bias`, so that the cell remembers at first (Gers et al. 2000; Jozefowicz et al. 2015).
    """

    remembers = 2  # cell and hidden state

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, forget_bias: float, **inits: Any) -> None:
        """Build the weights; one matrix product computes all four gates."""
        weights = _weights(features, hidden, 4, key=rngs.params(), rngs=rngs, **inits)
        self.kernel, self.recurrent, self.bias = weights
        self.bias[...] = self.bias[...].at[hidden : 2 * hidden].set(forget_bias)

    def __call__(self, x: Array, *, initial: State | None = None, mask: Array | None = None) -> tuple[Array, State]:
        """Return all hidden states and the last state; a step whose mask [B, L] is False changes nothing."""
        weights = self.kernel[...], self.recurrent[...], self.bias[...]
        first = (initial[0], initial[1]) if initial else None
        return lstm(x, *weights, initial=first, mask=mask)


class GRULayer(nnx.Module):
    """One layer of gated recurrent units in one direction, [B, L, F] -> [B, L, H] and the last `State`.

    The bias holds the gates in the order reset, update, candidate; `recurrent_bias` is multiplied
    by the reset gate.
    """

    remembers = 1

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, bias_init: Initializer, **inits: Any) -> None:
        """Build the weights; one matrix product computes all three gates."""
        key = rngs.params()
        weights = _weights(features, hidden, 3, key=key, rngs=rngs, bias_init=bias_init, **inits)
        self.kernel, self.recurrent, self.bias = weights
        self.recurrent_bias = nnx.Param(bias_init(jax.random.fold_in(key, 2), (hidden,)))

    def __call__(self, x: Array, *, initial: State | None = None, mask: Array | None = None) -> tuple[Array, State]:
        """Return all hidden states and the last state; a step whose mask [B, L] is False changes nothing."""
        weights = self.kernel[...], self.recurrent[...], self.bias[...], self.recurrent_bias[...]
        states, last = gru(x, *weights, initial=initial[-1] if initial else None, mask=mask)
        return states, (last,)


class RecurrentState(nnx.Module):
    """The last states of a batch of windows, and where in the text these ended: the next batch continues there.

    First in, first out: each microbatch finds the states of the same microbatch of the batch before.
    """

    def __init__(self, layers: int, remembers: int, hidden: int) -> None:
        """Start empty; the engine extends it to one entry per example of a batch."""
        self.ends = nnx.Cache(jnp.zeros(1, jnp.int32))
        self.states = nnx.Cache(jnp.zeros((1, layers, remembers, hidden)))

    def before(self, at: Array, dtype: Any) -> list[State]:
        """Return the initial state of each layer for windows that begin at `at`, int [B].

        It is zero where the last window read in this place of the batch is not the one before. Gradients stop here:
        the states are not a function of the parameters.
        """
        if len(at) > len(self.ends):
            raise ValueError(f"a batch of {len(at)} examples, but the recurrent state holds {len(self.ends)}")
        continues = self.ends[: len(at)] == at
        states = jnp.where(continues[:, None, None, None], self.states[: len(at)], 0).astype(dtype)
        return [tuple(layer) for layer in states.transpose(1, 2, 0, 3)]

    def store(self, states: list[State], ends: Array, mask: Array | None) -> None:
        """Store the last states of windows that end at `ends`, int [B], except examples whose mask is False."""
        new = jnp.stack([jnp.stack(state, 1) for state in states], 1).astype(self.states.dtype)
        if mask is not None:
            new, ends = jnp.where(mask[:, None, None, None], new, 0), jnp.where(mask, ends, 0)
        self.ends[...] = jnp.concatenate([self.ends[len(ends) :], ends])
        self.states[...] = jnp.concatenate([self.states[len(ends) :], new])
