"""The LSTM that writes: the next token from those before, beginning at a state that an encoder left."""

from typing import Any

from flax import nnx

from dltrain.models.rnn import LSTMLayer
from dltrain.ops.recurrent import lstm
from dltrain.types import Array

State = tuple[Array, Array]
"""The cell and the hidden state of an LSTM, [B, H] each."""


class StatefulLSTM(nnx.Module):
    """An LSTM layer that begins at any state and returns its last, [B, L, F] -> [B, L, H] and a `State`."""

    def __init__(self, features: int, hidden: int, **options: Any) -> None:
        """Build the weights; options as of `LSTMLayer`."""
        layer = LSTMLayer(features, hidden, **options)
        self.kernel, self.recurrent, self.bias = layer.kernel, layer.recurrent, layer.bias

    def __call__(self, x: Array, *, initial: State | None = None, mask: Array | None = None) -> tuple[Array, State]:
        """Return all hidden states and the last state; a step whose mask [B, L] is False changes nothing."""
        return lstm(x, self.kernel[...], self.recurrent[...], self.bias[...], initial=initial, mask=mask)
