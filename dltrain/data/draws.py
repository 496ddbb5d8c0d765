"""Ways to draw a part of the examples: in proportion to classes, by whole groups, or the last in time."""

import numpy as np

from dltrain.errors import DataError

QUANTILES = 10  # classes that numbers are cut into, to draw in proportion to them


def draw_stratified(
    labels: np.ndarray | None, examples: int, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a fraction of the examples, sorted: of each class in proportion (largest remainders), or at random."""
    total = round(examples * fraction)
    if labels is None:
        return np.sort(rng.permutation(examples)[:total])
    counts = np.bincount(labels)
    exact = counts * fraction
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: total - quota.sum()]] += 1
    order = rng.permutation(examples)
    rank = np.empty(examples, int)  # rank of each example among those of its class, in random order
    for label in range(len(counts)):
        mine = order[labels[order] == label]
        rank[mine] = np.arange(len(mine))
    return np.flatnonzero(rank < quota[labels])


def draw_groups(groups: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Draw whole groups, sorted; in random order, each group that brings the count nearer to the fraction.

    Args:
        groups: int [examples], the group of each example.
        fraction: the part of the examples to draw.
        rng: the order of the groups.
    """
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted, count = round(len(groups) * fraction), 0
    taken = np.zeros(len(names), bool)
    for group in rng.permutation(len(names)).tolist():
        size = int(sizes[group])
        if abs(count + size - wanted) < abs(count - wanted):
            taken[group], count = True, count + size
    return np.flatnonzero(taken[inverse])


def draw_last(times: np.ndarray, fraction: float) -> np.ndarray:
    """Take the last examples in time, sorted; equal times stay together, so the part may be a little different.

    Args:
        times: numbers that rise with time [examples].
        fraction: the part of the examples to take.
    """
    order = np.argsort(times, kind="stable")
    border = len(times) - round(len(times) * fraction)
    if border in (0, len(times)):
        return np.sort(order[border:])
    ordered = times[order]
    low = int(np.searchsorted(ordered, ordered[border], "left"))
    high = int(np.searchsorted(ordered, ordered[border], "right"))
    possible = [at for at in (low, high) if 0 < at < len(times)] or [len(times)]
    return np.sort(order[min(possible, key=lambda at: abs(at - border)) :])


def deal_folds(
    labels: np.ndarray | None, examples: int, folds: int, fold: int, rng: np.random.Generator
) -> np.ndarray:
    """Deal examples out to the folds, class by class and in random order; return those of one fold, sorted."""
    if examples < folds:
        raise DataError(f"data.folds={folds}: there are only {examples} examples to split")
    order = rng.permutation(examples)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    return np.sort(order[fold::folds])


def deal_groups(groups: np.ndarray, folds: int, fold: int, rng: np.random.Generator) -> np.ndarray:
    """Deal whole groups out to the folds, the largest first, each to the smallest fold; return one fold, sorted."""
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise DataError(f"data.folds={folds}: there are only {len(names)} groups to split")
    order = rng.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, given = np.zeros(folds, int), np.empty(len(names), int)
    for group in order.tolist():
        given[group] = filled.argmin()
        filled[given[group]] += sizes[group]
    return np.flatnonzero(given[inverse] == fold)


def quantiles(values: np.ndarray) -> np.ndarray:
    """Cut numbers [N] into classes of about equal size, at most ten; equal numbers are in one class, int [N]."""
    classes = max(1, min(QUANTILES, len(values) // QUANTILES))
    ranks = np.searchsorted(np.sort(values), values, "left")
    return np.unique(ranks * classes // len(values), return_inverse=True)[1]
