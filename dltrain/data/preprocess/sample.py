"""A sample of the values of columns, for quantiles: all of them, or about a million per column of larger data."""

import numpy as np

VALUES = 1 << 20
"""Most rows of a sample; above it a row stays with probability 1/2, 1/4, ..."""
TOTAL = 1 << 28
"""Most numbers of a sample, all columns together."""


class Sample:
    """Rows of numbers from blocks of examples; which stay depends on their position alone, not on the blocks.

    A row stays in a sample thinned k times if a hash of its position ends in k zeros, so the sample is spread over
    the data even if that is sorted or periodic.
    """

    def __init__(self, most: int = VALUES) -> None:
        """Begin with no examples; `most` is the largest number of rows."""
        self._most, self._blocks, self._seen, self._zeros = most, [], 0, 0
        self._hashes: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """Add examples [N, ..., columns], each of whose last axes is a row."""
        rows = values.reshape(-1, values.shape[-1])
        hashes = _mixed(np.arange(self._seen, self._seen + len(rows), dtype=np.uint64))
        self._seen += len(rows)
        stays = self._stays(hashes)
        self._blocks.append(rows[stays].astype(np.float64 if rows.dtype == np.float64 else np.float32))
        self._hashes.append(hashes[stays])
        while sum(map(len, self._blocks)) > max(1, min(self._most, TOTAL // rows.shape[1])):
            self._zeros += 1
            keep = [self._stays(block) for block in self._hashes]
            self._blocks = [block[stays] for block, stays in zip(self._blocks, keep, strict=True)]
            self._hashes = [block[stays] for block, stays in zip(self._hashes, keep, strict=True)]

    def rows(self) -> np.ndarray:
        """Return the sample, float [n, columns]."""
        return np.concatenate(self._blocks)

    def _stays(self, hashes: np.ndarray) -> np.ndarray:
        return hashes & np.uint64((1 << self._zeros) - 1) == 0


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Hash whole numbers, uint64 [N] -> [N] (the finalizer of splitmix64, Steele, Lea and Flood 2014)."""
    x = numbers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
