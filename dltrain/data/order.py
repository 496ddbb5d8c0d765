"""The order of the data: a pure function of (seed, step)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

PADDING = -1
"""Row number of a padding row: batches have one size, and what is missing from the last of an epoch is masked."""

RUN = 16
"""Rows that are evaluated in a row, where rows continue one another: the first of them without what came before."""


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


def streams(rows: np.ndarray, count: int, *, at: np.ndarray, length: int) -> np.ndarray:
    """Order rows so that row b of a batch of `count` is continued by row b of the next, wherever one continues it.

    `at`, int [N], is where each row of the source begins, and `length` how many steps it has. The rows stand one
    behind the other in as many streams as a batch has rows; some streams may be longer by one.
    """
    steps, places = -(-len(rows) // count), np.arange(count)
    begin = places * (steps - 1) + np.minimum(places, len(rows) - count * (steps - 1))
    order = (begin[None, :] + np.arange(steps)[:, None]).reshape(-1)
    return _chained(rows, at, length)[order[: len(rows)]]


def in_runs(rows: np.ndarray, batch_size: int, *, at: np.ndarray, length: int) -> np.ndarray:
    """Every row once, in streams of `RUN` rows: int32 [batches, batch_size], PADDING where one is short.

    What comes before a row in its stream does not depend on the size of a batch. Later streams come first: in a
    batch of one row, too, no stream goes on in the next.
    """
    groups = -(-len(rows) // (RUN * batch_size))
    padded = np.full(groups * RUN * batch_size, PADDING, np.int32)
    padded[: len(rows)] = _chained(rows, at, length)
    return padded.reshape(groups, batch_size, RUN)[::-1].swapaxes(1, 2).reshape(-1, batch_size)


def _chained(rows: np.ndarray, at: np.ndarray, length: int) -> np.ndarray:
    """Put each row before the one that continues it, where there is one."""
    return rows[np.lexsort((at[rows], at[rows] % length))]
