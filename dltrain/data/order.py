"""The order of the data: a pure function of (seed, step)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

PADDING = -1
"""Index of a padding example: all batches have the same size, and the mask hides the end of a short one."""

RUN = 16
"""Examples evaluated in sequence where they continue one another; the first of them starts without context."""


@dataclass(frozen=True, eq=False)  # equal only to itself: to compare `examples` would cost more than it saves
class Pipeline:
    """Batches of example indices.

    `examples` are the indices of the training split; `limit` cuts every epoch to this number of batches; `overfit`
    repeats this number of the first epoch's first batches. `classes` are those of `examples`, int [N], if each
    epoch is to have equally many of each class.
    """

    examples: np.ndarray
    batch_size: int
    seed: int
    shuffle: bool = True
    limit: int | None = None
    overfit: int = 0
    classes: np.ndarray | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch, including a last one that is short."""
        full = -(-len(self.examples) // self.batch_size)
        return min(full, self.overfit or full, self.limit or full)

    def indices(self, step: int, count: int) -> np.ndarray:
        """Return batches `step .. step + count - 1` as indices, int32 [count, batch_size], PADDING where short."""
        batches = np.full((count, self.batch_size), PADDING, np.int32)
        for i in range(count):
            epoch, position = divmod(step + i, self.steps_per_epoch)
            order = self._order(epoch)
            examples = order[position * self.batch_size : (position + 1) * self.batch_size]
            batches[i, : len(examples)] = examples
        return batches

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return self.examples
        return _permuted(self, 0 if self.overfit else epoch)


@lru_cache(maxsize=2)
def _permuted(pipeline: Pipeline, epoch: int) -> np.ndarray:
    """Return the indices in the order of this epoch; caches two orders, as a chunk may span the end of an epoch."""
    rng = np.random.Generator(np.random.Philox(key=[pipeline.seed, epoch]))
    if pipeline.classes is not None:
        return rng.permutation(_balanced(pipeline, epoch))
    return rng.permutation(pipeline.examples)


def _balanced(pipeline: Pipeline, epoch: int) -> np.ndarray:
    """Return as many examples as an epoch has, equally many of each class (a class may have one more than others).

    The examples of a class are used up in random order before one is used again, in this epoch or a later one.
    """
    assert pipeline.classes is not None
    present = np.unique(pipeline.classes)
    share, more = divmod(len(pipeline.examples), len(present))
    found = []
    for rank, label in enumerate(present):
        own, size = pipeline.examples[pipeline.classes == label], share + (rank < more)
        found.append(_stretch(own, epoch * size, size, [pipeline.seed, int(label)]))
    return np.concatenate(found)


def _stretch(examples: np.ndarray, start: int, size: int, seed: list[int]) -> np.ndarray:
    """Return `size` entries from `start` on of an endless sequence of permutations of examples, in any order."""
    first, last = start // len(examples), (start + size) // len(examples)
    begin, end = start % len(examples), (start + size) % len(examples)

    def turn(number: int) -> np.ndarray:
        return np.random.default_rng([*seed, number]).permutation(examples)

    if first == last:
        return turn(first)[begin:end]
    return np.concatenate([turn(first)[begin:], np.tile(examples, last - first - 1), turn(last)[:end]])


def in_order(examples: np.ndarray, batch_size: int) -> np.ndarray:
    """Return every index once, in the given order: int32 [batches, batch_size], PADDING at the end."""
    count = -(-len(examples) // batch_size)
    batches = np.full((count, batch_size), PADDING, np.int32)
    batches.reshape(-1)[: len(examples)] = examples
    return batches


def streams(examples: np.ndarray, count: int, *, at: np.ndarray, length: int) -> np.ndarray:
    """Order examples so that example b of the next batch continues example b of this one, wherever one does.

    `at`, int [N], is the step at which each example of the source begins, and `length` the number of its steps.
    The examples are laid out as `count` parallel streams, one for each example of a batch; some streams may be
    longer by one.
    """
    steps, places = -(-len(examples) // count), np.arange(count)
    begin = places * (steps - 1) + np.minimum(places, len(examples) - count * (steps - 1))
    order = (begin[None, :] + np.arange(steps)[:, None]).reshape(-1)
    return _chained(examples, at, length)[order[: len(examples)]]


def in_runs(examples: np.ndarray, batch_size: int, *, at: np.ndarray, length: int) -> np.ndarray:
    """Return every index once, in streams of `RUN` examples: int32 [batches, batch_size], PADDING where short.

    What precedes an example in its stream does not depend on the batch size. Later streams come first, so that
    even with a batch of one example no stream continues in the next.
    """
    groups = -(-len(examples) // (RUN * batch_size))
    padded = np.full(groups * RUN * batch_size, PADDING, np.int32)
    padded[: len(examples)] = _chained(examples, at, length)
    return padded.reshape(groups, batch_size, RUN)[::-1].swapaxes(1, 2).reshape(-1, batch_size)


def _chained(examples: np.ndarray, at: np.ndarray, length: int) -> np.ndarray:
    """Put each example before the one that continues it, where there is one."""
    return examples[np.lexsort((at[examples], at[examples] % length))]
