"""Find examples that are in two splits: a model must not be tested on what it was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dltrain.data.split import Splits

PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))
SOME = 8192  # examples at a time
WORD = np.dtype(np.uint64)


def shared_examples(arrays: Mapping[str, Any], splits: Splits) -> dict[tuple[str, str], np.ndarray]:
    """Return indices of shared examples for each pair of splits: int [n, 2], in the first and the second split.

    Examples are shared if all their bytes are equal, targets included. Of equal examples in the first split only
    the first is named, and a test example that is reported for training is not reported again for validation.
    """
    parts = jax.tree.leaves(dict(arrays))
    sums, found = sums_of(parts), {}
    reported = np.zeros(len(sums), bool)
    for one, other in PAIRS:
        known, other_split = splits[one], splits[other][~reported[splits[other]]]
        if not len(known) or not len(other_split):
            continue
        order = np.argsort(sums[known], kind="stable")
        at = np.minimum(np.searchsorted(sums[known], sums[other_split], sorter=order), len(known) - 1)
        pairs = np.stack([known[order[at]], other_split], 1)
        pairs = pairs[sums[pairs[:, 0]] == sums[pairs[:, 1]]]
        same = _are_same(parts, pairs)
        if same.any():
            found[one, other] = pairs[same]
            reported[pairs[same][:, 1]] = True
    return found


def equal_in_groups(arrays: Mapping[str, Any], groups: np.ndarray) -> np.ndarray:
    """Return pairs of equal examples of different groups, int [n, 2]: the first of them, and another."""
    parts = jax.tree.leaves(dict(arrays))
    sums = sums_of(parts)
    order = np.argsort(sums, kind="stable")
    first = order[np.searchsorted(sums[order], sums)]
    pairs = np.stack([first, np.arange(len(sums))], 1)
    pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
    return pairs[_are_same(parts, pairs)]


def _are_same(parts: Sequence[np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """Compare pairs of examples byte by byte: sums may be equal by chance."""
    same = np.ones(len(pairs), bool)
    for array in parts:
        same &= (array[pairs[:, 0]] == array[pairs[:, 1]]).all(axis=tuple(range(1, array.ndim)))
    return same


def sums_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return a hash of each example, uint64 [N]: words times odd random weights, modulo 2^64."""
    rng = np.random.default_rng(0)
    sums = np.zeros(len(arrays[0]), WORD)
    for array in arrays:
        examples = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        words = examples.shape[1] // WORD.itemsize
        weights = rng.integers(1 << 63, size=words + WORD.itemsize, dtype=WORD) * WORD.type(2) + WORD.type(1)
        for start in range(0, len(examples), SOME):
            some, end = examples[start : start + SOME], words * WORD.itemsize
            sums[start : start + SOME] += some[:, :end].view(WORD) @ weights[:words]
            rest = some[:, end:].astype(WORD)
            sums[start : start + SOME] += rest @ weights[words : words + rest.shape[1]]
    return sums
