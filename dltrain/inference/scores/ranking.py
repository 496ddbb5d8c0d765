"""Areas under ROC and precision-recall curves, one class against the others, and of resampled examples."""

from dataclasses import dataclass

import numpy as np

from dltrain.inference.scores.bootstrap import Estimate, Resampling
from dltrain.metrics.ranking import area_of_steps, area_under_roc, counts_above


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
    drawn = resampling.for_size(scores.size)
    columns = list(zip(scores.T, positive.T, strict=True))
    counts = [counts_above(column, true) for column, true in columns]
    areas = [_resampled(column, true, drawn) for column, true in columns]
    return Ranking(
        [_curve(hits, misses) for hits, misses in counts],
        np.array([area_under_roc(*pair) for pair in counts]),
        np.array([area_of_steps(*pair) for pair in counts]),
        np.stack([roc for roc, _ in areas], 1),
        np.stack([steps for _, steps in areas], 1),
    )


def _curve(hits: np.ndarray, misses: np.ndarray) -> Curve:
    positives, negatives = (int(counts[-1]) if len(counts) else 0 for counts in (hits, misses))
    with np.errstate(all="ignore"):
        return Curve(misses / negatives, hits / positives, hits / (hits + misses), positives, negatives)


def _resampled(scores: np.ndarray, positive: np.ndarray, drawn: Resampling) -> tuple[np.ndarray, np.ndarray]:
    """Return both areas of each resample, [R] each."""
    order = np.argsort(-scores, kind="stable")
    positive, ordered = positive[order].astype(np.float64), scores[order]
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    roc, steps = [np.zeros(0)], [np.zeros(0)]
    with np.errstate(all="ignore"):
        for weights in drawn.weights(len(scores)):
            weights = weights[:, order]
            hits = np.cumsum(weights * positive, 1)[:, last]
            misses = np.cumsum(weights * (1 - positive), 1)[:, last]
            zero = np.zeros((len(weights), 1))
            true, false = (np.concatenate([zero, of / of[:, -1:]], 1) for of in (hits, misses))
            roc.append(np.trapezoid(true, false, axis=1))
            shares = np.where(hits > 0, hits / (hits + misses), 0)
            steps.append((np.diff(true, axis=1) * shares).sum(1))
    return np.concatenate(roc), np.concatenate(steps)
