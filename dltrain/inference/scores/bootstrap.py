"""Bootstrap intervals: metrics of examples that are drawn again and again, with replacement, from a split."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

RESAMPLES = 1000
FEWEST = 100  # resamples; with fewer, the ends of an interval say little, so there is none
MOST_DRAWS = 2 * 10**8  # examples that are drawn in all, a few seconds
BLOCK = 4 * 10**6  # weights at a time, 32 MB
MOST_COLUMNS = 10**8  # values of the statistics of one split, 800 MB
OVERLAP = "windows share rows, so that their errors are alike and the intervals are too narrow"
DEFINED = 0.9  # of the resamples must have a value

Values = dict[str, np.ndarray]
"""Name -> values of the resamples, [R]."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval; they are NaN if there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def to_json(self) -> dict[str, float]:
        """Return the three numbers; JSON has null for NaN."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Statistic:
    """Values that follow from sums over examples.

    Attributes:
        columns: what is summed, float64 [N, C].
        values: sums [R, C] -> name -> values [R].
    """

    columns: np.ndarray
    values: Callable[[np.ndarray], Values]


@dataclass(frozen=True)
class Resampling:
    """How intervals are found: percentiles over resamples of N of the N examples.

    Attributes:
        count: the resamples.
        seed: the same seed draws the same examples.
        level: the share of the resamples inside an interval.
        overlap: whether examples share values, as windows of a series do: then intervals are too narrow.
    """

    count: int = RESAMPLES
    seed: int = 0
    level: float = 0.95
    overlap: bool = False

    def for_size(self, size: float) -> "Resampling":
        """Return the same with fewer resamples if one takes this many operations; 0 if too few are left."""
        count = min(self.count, int(MOST_DRAWS // max(size, 1)))
        return replace(self, count=count if count >= FEWEST else 0)

    def weights(self, examples: int, *, block: int | None = None) -> Iterator[np.ndarray]:
        """Yield how often each resample has each example, float64 [r, N], about `block` weights at a time."""
        rng, some = np.random.default_rng(self.seed), max(1, (block or BLOCK) // examples)
        for start in range(0, self.count, some):
            rows = min(some, self.count - start)
            drawn = rng.integers(examples, size=(rows, examples)) + examples * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * examples)
            yield counts.reshape(rows, examples).astype(np.float64)

    def interval(self, value: float, resampled: np.ndarray) -> Estimate:
        """Return a value with the percentiles of its resamples [R], of which a few may be undefined."""
        finite = resampled[np.isfinite(resampled)]
        if not np.isfinite(value) or len(resampled) < FEWEST or len(finite) < DEFINED * len(resampled):
            return Estimate(float(value))
        tail = 50 * (1 - self.level)
        low, high = np.percentile(finite, [tail, 100 - tail])
        return Estimate(float(value), float(low), float(high))

    def to_json(self) -> dict[str, Any]:
        """Describe how intervals were found."""
        how = "percentile bootstrap: as many examples as there are, drawn with replacement"
        found = {"method": how, "resamples": self.count, "level": self.level, "seed": self.seed}
        return found | ({"note": OVERLAP} if self.overlap else {})


def estimates(
    statistics: Mapping[str, Statistic], resampling: Resampling, known: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, Estimate]]:
    """Return each value of each statistic with its interval: statistic -> name -> estimate.

    Args:
        statistics: of one split; all see the same resamples.
        resampling: how examples are drawn.
        known: values that were computed before, and that are returned as they are.
    """
    sums = resampled_sums({name: s.columns for name, s in statistics.items()}, resampling)
    found: dict[str, dict[str, Estimate]] = {}
    with np.errstate(all="ignore"):
        for name, statistic in statistics.items():
            whole = {key: float(v[0]) for key, v in statistic.values(statistic.columns.sum(0)[None]).items()}
            values = whole | dict(known.get(name, {}))
            drawn = statistic.values(sums[name])
            none = np.zeros(0)
            found[name] = {key: resampling.interval(value, drawn.get(key, none)) for key, value in values.items()}
    return found


def resampled_sums(columns: Mapping[str, np.ndarray], resampling: Resampling) -> dict[str, np.ndarray]:
    """Return the sums over each resample, name -> [R, C], of columns [N, C]."""
    if not columns:
        return {}
    found: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    examples = len(next(iter(columns.values())))
    with np.errstate(all="ignore"):
        for weights in resampling.weights(examples):
            for name, of in columns.items():
                found[name].append(weights @ of)
    none = {name: np.zeros((0, of.shape[1])) for name, of in columns.items()}
    return {name: np.concatenate(parts) if parts else none[name] for name, parts in found.items()}
