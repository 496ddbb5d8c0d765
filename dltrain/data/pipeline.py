"""The order of the data: a pure function of (seed, step)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

PADDING = -1
"""Row number of a padding row: batches have one size, and what is missing from the last of an epoch is masked."""


@dataclass(frozen=True, eq=False)  # equal only to itself: comparing rows would cost more than it saves
class Pipeline:
    """Batches of row numbers.

    `rows` are the rows of the training split; `limit` cuts every epoch to that many batches; with `overfit` the
    first epoch's first so many batches come again and again.
    """

    rows: np.ndarray
    batch_size: int
    seed: int
    shuffle: bool = True
    limit: int | None = None
    overfit: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch, the last and short one included."""
        full = -(-len(self.rows) // self.batch_size)
        return min(full, self.overfit or full, self.limit or full)

    def indices(self, step: int, count: int) -> np.ndarray:
        """Row numbers of the batches `step .. step + count - 1`, int32 [count, batch_size], PADDING where short."""
        batches = np.full((count, self.batch_size), PADDING, np.int32)
        for i in range(count):
            epoch, position = divmod(step + i, self.steps_per_epoch)
            order = self._order(epoch)
            rows = order[position * self.batch_size : (position + 1) * self.batch_size]
            batches[i, : len(rows)] = rows
        return batches

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return self.rows
        return _permuted(self, 0 if self.overfit else epoch)


@lru_cache(maxsize=2)
def _permuted(pipeline: Pipeline, epoch: int) -> np.ndarray:
    """Rows in the order of this epoch (the last two orders are kept: a chunk may straddle an epoch's end)."""
    rng = np.random.Generator(np.random.Philox(key=[pipeline.seed, epoch]))
    return rng.permutation(pipeline.rows)


def in_order(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Every row once, as it stands: int32 [batches, batch_size], PADDING at the end."""
    count = -(-len(rows) // batch_size)
    batches = np.full((count, batch_size), PADDING, np.int32)
    batches.reshape(-1)[: len(rows)] = rows
    return batches
