"""Whether a model is right as often as it says: bins of its confidence, with the share of right predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 15  # as the metric ece has them


@dataclass(frozen=True)
class Calibration:
    """Bins of equal width, open below and closed above, [K] each; means of empty bins are NaN.

    Attributes:
        what: what was predicted with this confidence.
        counts: predictions in each bin.
        confidence: their mean confidence.
        right: the share of them that was right.
    """

    what: str
    counts: np.ndarray
    confidence: np.ndarray
    right: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of confidence and share, by predictions."""
        distance = np.abs(np.nan_to_num(self.confidence) - np.nan_to_num(self.right))
        return float((self.counts * distance).sum() / self.counts.sum()) if self.counts.sum() else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return the bins as lists."""
        values = {"counts": self.counts, "confidence": self.confidence, "right": self.right}
        return {"of": self.what, "error": self.error} | {name: v.tolist() for name, v in values.items()}


def calibrate(confidence: np.ndarray, right: np.ndarray, *, what: str, bins: int = BINS) -> Calibration:
    """Sort predictions into bins: confidence float [N], 0 to 1, and whether each was right, bool [N]."""
    known = np.isfinite(confidence)
    confidence, right = confidence[known].astype(np.float64), right[known].astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts, *sums = (np.bincount(index, weights, bins) for weights in (None, confidence, right))
    with np.errstate(all="ignore"):
        return Calibration(what, counts, *(total / counts for total in sums))
