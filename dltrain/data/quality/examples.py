"""Findings about examples that are arrays: images and texts that are in the data twice, or could not be read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from dltrain.data.leakage import sums_of
from dltrain.data.quality.finding import Finding, What
from dltrain.data.split import Splits

BLOCK = 4096  # examples at a time
FEW = 3  # in a sentence


def example_findings(source: Any, splits: Splits, where: Callable[[int], str]) -> Iterator[Finding]:
    """Find examples with equal inputs, and those of test that are in train."""
    sums = []
    for start in range(0, len(source), BLOCK):
        inputs = source.read(np.arange(start, min(start + BLOCK, len(source))))["inputs"]
        sums.append(sums_of([np.asarray(part) for part in jax.tree.leaves(inputs)]))
    _, first, inverse = np.unique(np.concatenate(sums), return_index=True, return_inverse=True)
    earlier = first[inverse]
    again = np.flatnonzero(earlier != np.arange(len(source)))
    if len(again):
        shown = ", ".join(f"{where(int(i))} as {where(int(earlier[i]))}" for i in again[:FEW])
        more = ", ..." * (len(again) > FEW)
        text = f"{len(again):,} examples equal an earlier one: {shown}{more}"
        yield Finding(What.DUPLICATES, "", text, "remove them")
    both = splits.test[np.isin(inverse[splits.test], inverse[splits.train])]
    if len(both):
        shown = ", ".join(where(int(i)) for i in both[:FEW]) + ", ..." * (len(both) > FEW)
        text = f"{len(both):,} of {len(splits.test):,} test examples are also in train: {shown}"
        yield Finding(What.TEST_IN_TRAIN, "", text, "remove duplicates")


def unreadable_findings(bad: Sequence[Sequence[str]]) -> Iterator[Finding]:
    """Report files and rows that could not be read; `bad` has the cells of each, what is wrong last."""
    if bad:
        shown = "; ".join(": ".join(cells) for cells in bad[:FEW]) + "; ..." * (len(bad) > FEW)
        advice = "repair them, or leave them out with data.on_bad=skip"
        yield Finding(What.UNREADABLE, "", f"{len(bad):,} could not be read: {shown}", advice)
