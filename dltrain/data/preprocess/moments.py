"""Mean, deviation and bounds of columns, in one pass over blocks of examples."""

import numpy as np

RESOLUTION = 1e-3
"""Largest step of float32, in standard deviations of a column, at which no information is lost that matters."""


class Moments:
    """Count, mean, spread and bounds of columns (Chan, Golub and LeVeque 1979), in float64."""

    def __init__(self) -> None:
        """Begin with no examples."""
        self.count = 0
        self.mean = self._squares = np.zeros(1)
        self.low, self.high = np.full(1, np.inf), np.full(1, -np.inf)

    def add(self, values: np.ndarray) -> None:
        """Add examples [N, ..., columns]."""
        flat = values.reshape(-1, values.shape[-1])
        count = len(flat)
        mean, squares = _of_bytes(flat) if values.dtype == np.uint8 else _of_floats(flat)
        total = self.count + count
        gap = mean - self.mean
        self._squares = self._squares + squares + gap**2 * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total
        self.low, self.high = np.minimum(self.low, flat.min(0)), np.maximum(self.high, flat.max(0))

    @property
    def deviation(self) -> np.ndarray:
        """Population standard deviation of each column."""
        return np.sqrt(self._squares / self.count)

    @property
    def float32_step(self) -> np.ndarray:
        """Distance of neighbouring float32 numbers at the largest value of each column."""
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        return np.spacing(np.minimum(largest, np.finfo(np.float32).max).astype(np.float32)).astype(np.float64)

    @property
    def is_coarse(self) -> np.ndarray:
        """Which columns lose their differences in float32: times in seconds, large serial numbers."""
        return (self.deviation > 0) & (self.float32_step > RESOLUTION * self.deviation)


def _of_bytes(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared distances of uint8 columns, from counts: no float64 copy of many images."""
    counts = np.stack([np.bincount(column, minlength=256) for column in flat.T])
    levels = np.arange(256.0)
    mean = counts @ levels / len(flat)
    return mean, (counts * (levels[None, :] - mean[:, None]) ** 2).sum(1)


def _of_floats(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = flat.mean(0, dtype=np.float64)
    return mean, ((flat - mean[None, :]) ** 2).sum(0)
