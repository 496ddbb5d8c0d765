"""Examples that are in two splits are found, and no others."""

import numpy as np
import pytest

from dltrain.data import leakage
from dltrain.data.leakage import shared_examples
from dltrain.data.split import Splits


def by_hand(arrays, splits):
    """Compare every example with every other."""
    found, told = {}, set()
    for one, other in leakage.PAIRS:
        first = {}
        for row in splits[one]:
            first.setdefault(tuple(a[row].tobytes() for a in arrays.values()), int(row))
        keys = [(tuple(a[row].tobytes() for a in arrays.values()), int(row)) for row in splits[other]]
        pairs = [[first[key], row] for key, row in keys if key in first and row not in told]
        told |= {row for _, row in pairs}
        found |= {(one, other): pairs} if pairs else {}
    return found


@pytest.mark.parametrize(
    ("shape", "dtype"), [((), np.int32), ((3,), np.uint8), ((5,), np.float32), ((3, 3, 1), np.uint8)]
)
def test_exactly_the_equal_examples_are_found(shape, dtype):
    """Only two values, so that many examples are equal and many differ slightly."""
    rng = np.random.default_rng(0)
    arrays = {"inputs": rng.integers(0, 2, (200, *shape)).astype(dtype), "targets": rng.integers(0, 2, (200, 1))}
    rows = rng.permutation(200)
    splits = Splits(*(np.sort(part) for part in (rows[:30], rows[30:60], rows[60:90])))
    found = {pair: rows.tolist() for pair, rows in shared_examples(arrays, splits).items()}
    assert found == by_hand(arrays, splits) and found


def test_examples_with_the_same_hash_by_chance_are_compared(monkeypatch):
    monkeypatch.setattr(leakage, "sums_of", lambda arrays: np.zeros(4, np.uint64))
    splits = Splits(np.array([0]), np.array([1, 2]), np.array([], int))
    found = shared_examples({"inputs": np.array([[1.0], [2.0], [1.0], [1.0]])}, splits)
    assert {pair: rows.tolist() for pair, rows in found.items()} == {("train", "validation"): [[0, 2]]}
