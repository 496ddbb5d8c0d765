"""How much each key of a sweep decides whether a job is among the best: PED-ANOVA.

The distribution of a key over the best jobs is compared with that over all jobs; a key that does not matter has the
same one. Watanabe, Bansal and Hutter, 2023: PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces, https://arxiv.org/abs/2304.10255; for keys that only some jobs have, https://arxiv.org/abs/2601.20800.

Written here, with the densities of Optuna 5, since Optuna's module imports scikit-learn, which takes seconds.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dltrain.plots.decades import spans_decades
from dltrain.report.sweeps.keys import Value, is_numeric

FEWEST = 8  # finished jobs
BEST = (0.25, 0.5)  # smallest and largest share of jobs that count as the best
ENOUGH = 16  # jobs among the best, as far as the largest share allows
POINTS = 50  # of the grid on which the density of a number is compared
PRIOR = 1.0  # jobs' worth of a uniform prior
NARROWEST = 0.5 / 1.64  # deviation of a kernel, in points of the grid
_ERFC = np.vectorize(math.erfc, otypes=[np.float64])  # scipy.special takes longer to import than this to compute


def importance(
    keys: Mapping[str, Sequence[Value]], scores: Sequence[float], *, higher: bool
) -> tuple[dict[str, float], str]:
    """Return the importance of each key, with a sum of 1, the largest first; and why there is none, "" if there is.

    Args:
        keys: key -> its value in each of N jobs; None: not set.
        scores: their results, finite [N].
        higher: whether a higher result is better.
    """
    if not keys:
        return {}, "the jobs differ in no key"
    if len(scores) < FEWEST:
        return {}, f"the importance of the keys needs {FEWEST} finished jobs; there are {len(scores)}"
    costs = np.asarray(scores, np.float64) * (-1 if higher else 1)
    share = min(BEST[1], max(BEST[0], ENOUGH / len(costs)))
    best = best_of(costs, share)
    found = {key: pearson(values, best) for key, values in keys.items()}
    total = sum(found.values())
    if best.all() or total == 0.0:
        return {}, "the results do not depend on any key"
    return {key: value / total for key, value in sorted(found.items(), key=lambda pair: -pair[1])}, ""


def best_of(costs: np.ndarray, share: float) -> np.ndarray:
    """Return which of N jobs are among the best `share`, bool [N]; ties with the last of them are, too."""
    return costs <= np.sort(costs)[math.ceil(share * costs.size) - 1]


def pearson(values: Sequence[Value], best: np.ndarray) -> float:
    """Return the Pearson divergence of a key's distribution over the best jobs from that over all jobs.

    Jobs in which the key is set count by their share, those in which it is not are left out.

    Args:
        values: of the key in N jobs.
        best: which of them are the best, bool [N].
    """
    there = np.array([value is not None for value in values])
    top = there & best
    if there.sum() < 2 or not top.any():
        return 0.0
    points, count, numeric = _on_grid(values)
    if count < 2:
        return 0.0
    all_density = _density(points[there], count, numeric=numeric) + 1e-12
    top_density = _density(points[top], count, numeric=numeric) + 1e-12
    divergence = float(all_density @ (top_density / all_density - 1) ** 2)
    return float((top.sum() / best.sum()) ** 2 / there.mean() * divergence)


def _on_grid(values: Sequence[Value]) -> tuple[np.ndarray, int, bool]:
    """Return the point of each value on a grid, int [N], the number of points, and whether these are in order."""
    known = [value for value in values if value is not None]
    if not is_numeric(known):
        texts = {text: i for i, text in enumerate(sorted(set(map(str, known))))}
        return np.array([texts.get(str(value), 0) for value in values]), len(texts), False
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    numbers = np.log(numbers) if spans_decades(numbers) else numbers
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    if low == high:
        return np.zeros(len(values), int), 1, True
    places = np.ceil((numbers - low) / ((high - low) / (POINTS - 1)) - 0.5)
    return np.clip(np.nan_to_num(places), 0, POINTS - 1).astype(int), POINTS, True


def _density(points: np.ndarray, count: int, *, numeric: bool) -> np.ndarray:
    """Estimate the density of points on a grid of `count` points, with a prior: float [count]."""
    counts = np.bincount(points, minlength=count)
    seen = np.flatnonzero(counts)
    weights = np.append(counts[seen], PRIOR)
    kernels = (_normal if numeric else _categorical)(seen, counts[seen], count)
    return (weights / weights.sum()) @ kernels


def _categorical(seen: np.ndarray, counts: np.ndarray, count: int) -> np.ndarray:
    """Return a kernel for each category that was seen, and the prior: [K + 1, count]."""
    del counts
    kernels = np.full((seen.size + 1, count), PRIOR / (seen.size + 1))
    kernels[np.arange(seen.size), seen] += 1
    return kernels / kernels.sum(axis=1, keepdims=True)


def _normal(seen: np.ndarray, counts: np.ndarray, count: int) -> np.ndarray:
    """Return a truncated normal kernel for each point that was seen, and the prior, with Scott's bandwidth."""
    total, cumulated = counts.sum(), np.cumsum(counts)
    mean = (seen @ counts) / total
    deviation = math.sqrt(((seen - mean) ** 2 @ counts) / max(1, total - 1))
    quarters = [np.searchsorted(cumulated, total // 4), np.searchsorted(cumulated, total * 3 // 4, side="right")]
    between = seen[min(seen.size - 1, quarters[1])] - seen[quarters[0]]
    bandwidth = max(NARROWEST, 1.059 * min(between / 1.34, deviation) * total**-0.2)
    middles = np.append(seen, (count - 1) / 2)[:, None]
    widths = np.append(np.full(seen.size, bandwidth), count)[:, None]
    edges = _ERFC((middles - np.arange(count + 1) + 0.5) / (widths * math.sqrt(2))) / 2
    return np.diff(edges) / (edges[:, -1:] - edges[:, :1])
