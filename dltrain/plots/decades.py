"""Which numbers belong on a log scale; without matplotlib, which takes long to import."""

import math

import numpy as np

DECADES = 2.0  # numbers that span at least these are on a log scale,
LOWER = 0.2  # if at least this share of them is in the lower half of it: numbers drawn uniformly are not


def spans_decades(values: np.ndarray) -> bool:
    """Tell whether numbers are positive and lie all over DECADES or more."""
    finite = np.unique(values[np.isfinite(values)])
    if not finite.size or finite[0] <= 0 or math.log10(finite[-1] / finite[0]) < DECADES - 1e-9:
        return False
    middle = math.sqrt(finite[0] * finite[-1]) * (1 + 1e-9)
    return bool((finite <= middle).mean() >= LOWER)
