"""Checks of the values of arrays that a client has encoded itself: what no number of a level or token may be."""

from typing import Any

import numpy as np

from dltrain.errors import DataError
from dltrain.types import Feature, Kind


def check_values(name: str, values: np.ndarray, feature: Feature) -> None:
    """Raise DataError for values that the program cannot mean: not finite, or no number of a level or token."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            row = np.argwhere(~np.isfinite(values))[0].tolist()
            raise DataError(f"inputs: {name} has a value that is not finite at {row}; expected finite numbers")
        return
    most = _largest(feature)
    if most is None or values.dtype.kind not in "iu" or not values.size:
        return
    high = np.broadcast_to(np.asarray(most), values.shape)
    low = 1 if feature.kind is Kind.LENGTH else 0
    if (bad := (values < low) | (values > high)).any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise DataError(
            f"inputs: {name} is {values[place]} at {list(place)}, expected a number from {low} to {high[place]}"
        )


def _largest(feature: Feature) -> Any:
    """Return the largest number that stands for something, for each column where they differ; None for any."""
    if feature.kind is Kind.CATEGORIES:
        return [len(levels) for levels in feature.levels]
    if feature.kind is Kind.NGRAMS:
        return feature.buckets
    if feature.kind in (Kind.TOKENS, Kind.CATEGORY) and feature.vocabulary:
        return len(feature.vocabulary) - 1
    return None
