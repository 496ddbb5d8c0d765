"""Which examples of a split are drawn."""

import numpy as np


def choose(truth: np.ndarray, prediction: np.ndarray, losses: np.ndarray, count: int = 32) -> np.ndarray:
    """Choose examples to draw, int [count]: the worst errors first, up to half of them, then the first others.

    Args:
      truth: classes int [N], or values float [N] or [N, T], for which every example counts as an error.
      prediction: as `truth`.
      losses: float [N]; a loss of NaN counts as the worst.
      count: of the chosen examples; all if there are fewer.
    """
    wrong = np.arange(len(truth))
    if np.issubdtype(np.asarray(truth).dtype, np.integer):
        wrong = np.flatnonzero(np.asarray(truth) != np.asarray(prediction))
    order = np.argsort(-np.nan_to_num(np.asarray(losses, dtype=np.float64), nan=np.inf)[wrong], kind="stable")
    worst = wrong[order][: count // 2]
    others = np.setdiff1d(np.arange(len(truth)), worst)
    return np.concatenate([worst, others[: count - len(worst)]])


def worst_of(truth: np.ndarray, prediction: np.ndarray, count: int = 32) -> int:
    """Return how many of the examples that `choose` returns are the worst errors."""
    wrong = len(truth)
    if np.issubdtype(np.asarray(truth).dtype, np.integer):
        wrong = int((np.asarray(truth) != np.asarray(prediction)).sum())
    return min(wrong, count // 2)
