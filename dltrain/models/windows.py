"""What models of time series share: columns of a window, reversible normalisation, and what is known in advance."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.types import Array, Kind, Spec

HIDDEN = 16  # units between what is known in advance and the forecast


class RevIN(nnx.Module):
    """Reversible instance normalisation (Kim et al. 2022, ICLR): each column of a window to mean 0, deviation 1.

    `(x - mean) / sqrt(variance + 1e-5) * scale + bias`, with the population variance over the steps of the window,
    and a scale and a bias for each column; `undo` returns the forecast to the level and the spread of its window.
    """

    epsilon = 1e-5

    def __init__(self, columns: int) -> None:
        """Start without effect of scale and bias."""
        self.scale, self.bias = nnx.Param(jnp.ones(columns)), nnx.Param(jnp.zeros(columns))

    def __call__(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Return the normalised window, [B, L, C], and its mean and deviation, [B, 1, C], which get no gradient."""
        return self.normalised(x, jax.lax.stop_gradient(self.statistics(x)))

    def statistics(self, x: Array) -> tuple[Array, Array]:
        """Return mean and deviation of each column of a window, [B, 1, C] each."""
        return x.mean(1, keepdims=True), jnp.sqrt(x.var(1, keepdims=True) + self.epsilon)

    def normalised(self, x: Array, statistics: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        """Return the window with this mean and deviation taken out, [B, L, C], and both."""
        mean, deviation = statistics
        return (x - mean) / deviation * self.scale[None, None] + self.bias[None, None], (mean, deviation)

    def undo(self, y: Array, statistics: tuple[Array, Array]) -> Array:
        """Return a forecast [B, H, C], or several [B, H, C, Q], in the units of the window."""
        mean, deviation = statistics
        scale, bias = self.scale[None, None], self.bias[None, None]
        if y.ndim == 4:
            mean, deviation, scale, bias = mean[..., None], deviation[..., None], scale[..., None], bias[..., None]
        return (y - bias) / (scale + self.epsilon**2) * deviation + mean


class KnownInAdvance(nnx.Module):
    """Adds what the columns known in advance say about each step: two dense layers, the same for every step.

    The last layer starts at zero, so that training begins with the model without them.
    """

    def __init__(self, features: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        """Build the layers, from `features` columns to the columns (times quantiles) of the forecast."""
        self.hidden = nnx.Linear(features, HIDDEN, kernel_init=initializers.he_normal(), rngs=rngs)
        self.out = nnx.Linear(HIDDEN, outputs, kernel_init=initializers.zeros(), rngs=rngs)

    def __call__(self, known: Array, horizon: int) -> Array:
        """Return float [B, H, outputs] from the last H steps of `known`, [B, L + H, K]."""
        return self.out(jax.nn.relu(self.hidden(known[:, -horizon:])))


class WindowModel(nnx.Module):
    """A model that forecasts each column from the past of that column, with the same weights for all of them.

    Takes windows [B, L, C], or a dict with them and what is known in advance, [B, L + H, K]; returns [B, H, T],
    with quantiles [B, H, T, Q]. The T predicted columns are among the C inputs; the others are not used. A subclass
    builds its weights, and forecasts in `column`.
    """

    returns_shape = True

    def __init__(self, spec: Spec, *, revin: bool, rngs: nnx.Rngs) -> None:
        """Find the columns; ValueError for data that is not a series."""
        names = [name for name, feature in spec.contents.items() if feature.kind is Kind.SEQUENCE]
        if len(spec.target.shape) != 2 or not names or len(names) < len(spec.contents):
            raise ValueError("forecasts the next rows of windows of numbers, which data=series has")
        self.past, *others = names
        self.known = others[0] if others else None
        window = spec.inputs[self.past]
        self.look_back, (self.horizon, targets) = window.shape[0], spec.target.shape
        self.columns = places(window.names, spec.target.names, window.shape[1], targets)
        self.quantiles = len(spec.task.quantiles)
        self.ahead = self.horizon * max(1, self.quantiles)  # numbers to forecast for each column
        self.revin = RevIN(targets) if revin else None
        if self.known:
            features = spec.inputs[self.known].shape[1]
            self.in_advance = KnownInAdvance(features, targets * max(1, self.quantiles), rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the forecast, float [B, H, T] or [B, H, T, Q]."""
        del mask
        x = inputs[self.past] if isinstance(inputs, Mapping) else inputs
        x = x if self.columns is None else x[:, :, jnp.asarray(self.columns)]
        x, statistics = self.revin(x) if self.revin else (x, None)
        y = self.column(x.swapaxes(1, 2), rngs=rngs)  # [B, T, H * Q]
        y = y.reshape(*y.shape[:2], self.horizon, -1).swapaxes(1, 2)
        if self.known:
            y = y + self.in_advance(inputs[self.known], self.horizon).reshape(y.shape)
        y = y if self.quantiles else y[..., 0]
        return self.revin.undo(y, statistics) if self.revin and statistics else y

    @abstractmethod
    def column(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Forecast each column from its past, [B, T, L] -> [B, T, H * Q]."""


def places(
    inputs: tuple[str, ...], targets: tuple[str, ...], columns: int, predicted: int
) -> tuple[int, ...] | None:
    """Return where the predicted columns are among the inputs; None if they are the inputs.

    Raises:
        ValueError: a predicted column is not among the inputs.
    """
    if inputs == targets and columns == predicted:
        return None
    if lost := [name for name in targets if name not in inputs]:
        raise ValueError(
            f"forecasts a column from its own past, and {lost[0]} is not among the inputs; add it to data.columns"
        )
    return tuple(inputs.index(name) for name in targets)
