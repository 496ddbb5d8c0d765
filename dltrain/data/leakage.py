"""Rows that stand in two splits: what a model has trained on is no test of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dltrain.data.split import Splits

PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))
SOME = 8192  # rows at a time
WORD = np.dtype(np.uint64)


def shared_rows(arrays: Mapping[str, Any], splits: Splits) -> dict[tuple[str, str], np.ndarray]:
    """Return, for each two splits that share rows, their numbers: int [n, 2], in the first split and in the second.

    Rows are shared if all their bytes are equal, targets included. Only the first one of each kind is named in the
    first split, and a row that is told of training is not told again of validation.
    """
    parts = jax.tree.leaves(dict(arrays))
    sums, found = _sums(parts), {}
    told = np.zeros(len(sums), bool)
    for one, other in PAIRS:
        known, asked = splits[one], splits[other][~told[splits[other]]]
        if not len(known) or not len(asked):
            continue
        order = np.argsort(sums[known], kind="stable")
        at = np.minimum(np.searchsorted(sums[known], sums[asked], sorter=order), len(known) - 1)
        pairs = np.stack([known[order[at]], asked], 1)
        pairs = pairs[sums[pairs[:, 0]] == sums[pairs[:, 1]]]
        same = np.ones(len(pairs), bool)  # sums may be equal by chance
        for array in parts:
            same &= (array[pairs[:, 0]] == array[pairs[:, 1]]).all(axis=tuple(range(1, array.ndim)))
        if same.any():
            found[one, other] = pairs[same]
            told[pairs[same][:, 1]] = True
    return found


def _sums(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return a number for each row, uint64 [N]: words times odd random weights, modulo 2^64."""
    rng = np.random.default_rng(0)
    sums = np.zeros(len(arrays[0]), WORD)
    for array in arrays:
        rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        words = rows.shape[1] // WORD.itemsize
        weights = rng.integers(1 << 63, size=words + WORD.itemsize, dtype=WORD) * WORD.type(2) + WORD.type(1)
        for start in range(0, len(rows), SOME):
            some, end = rows[start : start + SOME], words * WORD.itemsize
            sums[start : start + SOME] += some[:, :end].view(WORD) @ weights[:words]
            rest = some[:, end:].astype(WORD)
            sums[start : start + SOME] += rest @ weights[words : words + rest.shape[1]]
    return sums
