"""Statistics over runs that differ only in their seed: means, intervals, and whether two groups differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dltrain.inference.student import LEVEL, cumulative, quantile


@dataclass(frozen=True)
class Spread:
    """A metric over the runs of a group."""

    count: int
    mean: float
    deviation: float | None  # of the sample, with n - 1; None of a single run
    interval: tuple[float, float] | None  # of the mean, by Student's t; None of a single run


@dataclass(frozen=True)
class Difference:
    """What Welch's t-test says about the means of two groups."""

    value: float  # first mean minus second
    interval: tuple[float, float]
    p: float  # two-sided, of such a difference if the means are equal; adjusted for the number of pairs
    clear: bool  # whether p is below 1 - LEVEL


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation and 95 % interval of the mean of values [N], N >= 1."""
    found, count = np.asarray(values, np.float64), len(values)
    mean = float(found.mean())
    if count < 2:
        return Spread(count, mean, None, None)
    deviation = float(found.std(ddof=1))
    half = quantile(count - 1) * deviation / math.sqrt(count)
    return Spread(count, mean, deviation, (mean - half, mean + half))


def corrected_spread(values: Sequence[float], *, ratio: float) -> Spread:
    """Return mean, standard deviation and 95 % interval of the mean over K folds, [K] with K >= 1.

    Any two training sets share most of their examples, so the values are correlated, and s / sqrt(K) is too small
    an error. It is replaced by s * sqrt(1/K + ratio), with K - 1 degrees of freedom (Nadeau and Bengio, Inference
    for the generalization error, Machine Learning 52, 2003). It is approximate; no estimate is unbiased.

    Args:
        values: a metric of each fold.
        ratio: validation examples per training example of a fold.
    """
    found = spread(values)
    if found.deviation is None:
        return found
    half = quantile(found.count - 1) * found.deviation * math.sqrt(1 / found.count + ratio)
    return Spread(found.count, found.mean, found.deviation, (found.mean - half, found.mean + half))


def difference(one: Sequence[float], other: Sequence[float], *, pairs: int = 1) -> Difference | None:
    """Compare the means of two groups by Welch's t-test (Welch, 1947), which lets their variances differ.

    Returns None if neither group has any spread, so that none can be estimated.

    Args:
        one: values of the first group, at least two.
        other: values of the second.
        pairs: the number of pairs among which this one was picked; p is multiplied by it (Bonferroni).
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    parts = [float(group.var(ddof=1)) / len(group) for group in (first, second)]
    value, error = float(first.mean() - second.mean()), math.sqrt(sum(parts))
    if error == 0.0:
        return None
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (first, second), strict=True)
    )
    p = min(1.0, pairs * 2 * cumulative(-abs(value) / error, freedom))
    half = quantile(freedom) * error
    return Difference(value, (value - half, value + half), p, p < 1 - LEVEL)
