"""Linear models of time series: few weights, and on long horizons as good as large networks.

Most start at zero by default: the problem is convex, and what is drawn at random would remain as noise in
directions in which the windows hardly vary.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.windows import WindowModel
from dltrain.ranges import Size
from dltrain.types import Array, Initializer, Spec


class RLinear(WindowModel):
    """One linear layer from the past of a column to its forecast, with RevIN (Li et al. 2023, arXiv:2305.10721)."""

    def __init__(
        self,
        spec: Spec,
        *,
        rngs: nnx.Rngs,
        revin: bool = True,
        kernel_init: Initializer = initializers.zeros(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layer.

        Args:
            spec: description of the data.
            rngs: source of initial weights.
            revin: normalise each window, and undo it in the forecast.
            kernel_init: initial weights.
            bias_init: initial biases.
        """
        super().__init__(spec, revin=revin, rngs=rngs)
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.linear = nnx.Linear(self.look_back, self.ahead, **init)

    def column(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Forecast each column, [B, T, L] -> [B, T, H * Q]."""
        del rngs
        return self.linear(x)


class NLinear(RLinear):
    """The same layer on the differences to the last value of the window (Zeng et al. 2023, arXiv:2205.13504)."""

    def __init__(
        self,
        spec: Spec,
        *,
        rngs: nnx.Rngs,
        revin: bool = False,
        kernel_init: Initializer = initializers.zeros(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layer; arguments as of `RLinear`."""
        super().__init__(spec, rngs=rngs, revin=revin, kernel_init=kernel_init, bias_init=bias_init)

    def column(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Forecast each column, [B, T, L] -> [B, T, H * Q]."""
        last = x[..., -1:]
        return super().column(x - last, rngs=rngs) + last


class DLinear(WindowModel):
    """A linear layer for the trend of a window and one for the rest (Zeng et al. 2023, arXiv:2205.13504).

    The trend is a moving average, with the first and the last value repeated at the ends.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        rngs: nnx.Rngs,
        kernel: Size = 25,
        revin: bool = False,
        kernel_init: Initializer = initializers.zeros(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            spec: description of the data.
            rngs: source of initial weights.
            kernel: steps of the moving average, an odd number.
            revin: normalise each window, and undo it in the forecast.
            kernel_init: initial weights.
            bias_init: initial biases.
        """
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel}: expected an odd number, such as {kernel + 1}")
        super().__init__(spec, revin=revin, rngs=rngs)
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.trend = nnx.Linear(self.look_back, self.ahead, **init)
        self.rest = nnx.Linear(self.look_back, self.ahead, **init)
        self.kernel = kernel

    def column(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Forecast each column, [B, T, L] -> [B, T, H * Q]."""
        del rngs
        trend = moving_average(x, self.kernel)
        return self.rest(x - trend) + self.trend(trend)


class SparseTSF(WindowModel):
    """One small linear layer for every phase of a known period (Lin et al. 2024, arXiv:2405.00946).

    The mean of the window is subtracted, and a convolution over about one period is added, before every `period`-th
    value forms a sequence of its own: all of these share one layer without bias. The mean is added again at the
    end. A window that is not a multiple of the period loses its oldest values.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        rngs: nnx.Rngs,
        period: Size = 24,
        revin: bool = False,
        kernel_init: Initializer = initializers.lecun_uniform(),
    ) -> None:
        """Build the layers.

        Args:
            spec: description of the data.
            rngs: source of initial weights.
            period: rows of a season: 24 hours, 12 months.
            revin: normalise each window, and undo it in the forecast.
            kernel_init: initial weights.
        """
        super().__init__(spec, revin=revin, rngs=rngs)
        if self.look_back < period:
            raise ValueError(
                f"period={period}: the window has {self.look_back} rows, fewer than one period; set data.look_back"
            )
        self.period = period
        self.seen, self.wanted = self.look_back // period, -(-self.horizon // period)
        width = 2 * (period // 2) + 1
        self.smooth = nnx.Param(kernel_init(rngs.params(), (width, 1, 1))[:, 0, 0])
        out = self.wanted * max(1, self.quantiles)
        self.linear = nnx.Linear(self.seen, out, use_bias=False, kernel_init=kernel_init, rngs=rngs)

    def column(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Forecast each column, [B, T, L] -> [B, T, H * Q]."""
        del rngs
        mean = x.mean(-1, keepdims=True)
        return (x - mean)[..., -self.seen * self.period :] @ self._matrix() + mean

    def _matrix(self) -> Array:
        """Return convolution and layer as one matrix, [seen * period, H * Q].

        Both are linear: their product is smaller than a batch of windows, so it takes a tenth of the time.
        """
        quantiles, same = max(1, self.quantiles), jnp.eye(self.period, dtype=self.linear.kernel.dtype)
        kernel = self.linear.kernel[...].reshape(self.seen, 1, self.wanted, 1, quantiles)
        layer = kernel * same.reshape(1, self.period, 1, self.period, 1)  # a phase is forecast from itself
        layer = layer.reshape(self.seen * self.period, -1, quantiles)[:, : self.horizon]
        layer = layer.reshape(len(layer), -1).T
        return (layer + sliding_sum(layer, self.smooth[...][::-1])).T


def moving_average(x: Array, kernel: int) -> Array:
    """Average `kernel` values around each, [..., L] -> [..., L]; beyond the ends the first and last count."""
    pad = kernel // 2
    ends = [(0, 0)] * (x.ndim - 1) + [(pad, pad)]
    sums = jnp.cumsum(jnp.pad(jnp.pad(x, ends, mode="edge"), [*ends[:-1], (1, 0)]), -1)
    return (sums[..., kernel:] - sums[..., :-kernel]) / kernel


def sliding_sum(x: Array, weights: Array) -> Array:
    """Return the sums of weighted neighbours, [..., L] with weights [2P + 1] -> [..., L]; zeros beyond the ends.

    As a sum of shifted values, which XLA fuses: a convolution with one channel is slow on a CPU.
    """
    length, pad = x.shape[-1], len(weights) // 2
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(pad, pad)])
    total = weights[0] * padded[..., :length]
    for i in range(1, len(weights)):
        total = total + weights[i] * padded[..., i : i + length]
    return total
