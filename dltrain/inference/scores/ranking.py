"""Areas under ROC and precision-recall curves, one class against the others, and of resampled examples."""

from dataclasses import dataclass

import numpy as np

from dltrain.inference.scores.bootstrap import Estimate, Resampling
from dltrain.metrics.ranking import area_of_steps, area_under_roc, counts_above

SLOWER = 3  # times as many operations as the sums of a statistic
BLOCK = 2**18  # weights at a time, which the cache of a processor holds


@dataclass(frozen=True)
class Curve:
    """One class against the others, at each distinct score from the highest down.

    Attributes:
        false: share of the other examples at or above the score, [n].
        true: share of the examples of the class, which is also the recall, [n].
        precision: share of those at or above the score that are of the class, [n].
        positives: the examples of the class, and `negatives` the others.
    """

    false: np.ndarray
    true: np.ndarray
    precision: np.ndarray
    positives: int
    negatives: int


@dataclass(frozen=True)
class Ranking:
    """Curves of each column of scores, and the areas under them, whole [C] and of the resamples [R, C]."""

    curves: list[Curve]
    auroc: np.ndarray
    precision: np.ndarray
    drawn_auroc: np.ndarray
    drawn_precision: np.ndarray

    def estimate(self, resampling: Resampling, columns: list[int], what: str) -> Estimate:
        """Return the mean area (`auroc` or `precision`) over some columns, with its interval."""
        values, drawn = getattr(self, what), getattr(self, f"drawn_{what}")
        return resampling.interval(float(values[columns].mean()), drawn[:, columns].mean(1))


def rank(scores: np.ndarray, positive: np.ndarray, resampling: Resampling) -> Ranking:
    """Compare scores [N, C] with what is true, bool [N, C]."""
    drawn = areas_of(resampling, scores.size)
    counts = [counts_above(column, true) for column, true in zip(scores.T, positive.T, strict=True)]
    sorted_ones = [_Sorted.of(column, true) for column, true in zip(scores.T, positive.T, strict=True)]
    none, found = np.zeros((2, 0, len(counts))), []
    with np.errstate(all="ignore"):
        for weights in drawn.weights(len(scores), block=BLOCK):
            found.append(np.stack([one.areas(weights.astype(np.float32)) for one in sorted_ones], 2))
    drawn_auroc, drawn_precision = np.concatenate([none, *found], 1)
    return Ranking(
        [_curve(hits, misses) for hits, misses in counts],
        np.array([area_under_roc(*pair) for pair in counts]),
        np.array([area_of_steps(*pair) for pair in counts]),
        drawn_auroc,
        drawn_precision,
    )


def areas_of(resampling: Resampling, size: int) -> Resampling:
    """Return the resamples of the areas under the curves of this many scores."""
    return resampling.for_size(SLOWER * size)


def _curve(hits: np.ndarray, misses: np.ndarray) -> Curve:
    positives, negatives = (int(counts[-1]) if len(counts) else 0 for counts in (hits, misses))
    with np.errstate(all="ignore"):
        return Curve(misses / negatives, hits / positives, hits / (hits + misses), positives, negatives)


@dataclass(frozen=True)
class _Sorted:
    """Examples from the highest score down: their order, which are positive, and where each score begins."""

    order: np.ndarray
    positive: np.ndarray
    starts: np.ndarray | None  # None if all scores differ

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> "_Sorted":
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        return cls(order, positive[order].astype(np.float32), starts if len(starts) < len(scores) else None)

    def areas(self, weights: np.ndarray) -> np.ndarray:
        """Return the areas under both curves, float64 [2, R], of examples with these weights, float32 [R, N].

        Sums of weights are whole numbers below 2^24, which float32 holds exactly.
        """
        every = weights[:, self.order]
        hits = every * self.positive
        if self.starts is not None:
            every, hits = (np.add.reduceat(of, self.starts, axis=1) for of in (every, hits))
        reached, above = np.cumsum(hits, 1), np.cumsum(every, 1)
        positives, negatives = (of.astype(np.float64) for of in (reached[:, -1], above[:, -1] - reached[:, -1]))
        pairs = np.einsum("rn,rn->r", every - hits, reached - hits / 2, dtype=np.float64)
        shares = reached / np.maximum(above, 1)
        steps = np.einsum("rn,rn->r", hits, shares, dtype=np.float64)
        return np.stack([pairs / (positives * negatives), steps / positives])
