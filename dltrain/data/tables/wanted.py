"""What the user says about the columns of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from dltrain.data.images.options import ImageOptions
from dltrain.data.tables.options import MISSING
from dltrain.errors import DataError


class MissingTarget(StrEnum):
    """What happens to rows without a target."""

    DROP = "drop"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Wanted:
    """What the user says about the columns."""

    targets: tuple[str, ...]
    meanings: Mapping[str, str]
    missing: tuple[str, ...] = MISSING
    missing_target: MissingTarget = MissingTarget.DROP
    positive: str | None = None
    unused: tuple[str, ...] = ()
    weight: str | None = None
    image: ImageOptions = field(default_factory=ImageOptions)


def read_weights(values: Any, where: Callable[[int], str]) -> np.ndarray:
    """Return how much each row counts in the loss, float32 [N].

    Args:
        values: the column, a polars series.
        where: index -> file and row, for messages.

    Raises:
        DataError: a value is not a number of 0 or more.
    """
    expected = "expected a weight of 0 or more"
    if not values.dtype.is_numeric():
        raise DataError(f"{where(0)}, column {values.name}: found {values[0]!r}, {expected}")
    found = values.to_numpy().astype(np.float32)
    if (bad := ~(found >= 0)).any():
        row = int(np.argmax(bad))
        raise DataError(f"{where(row)}, column {values.name}: found {values[row]}, {expected}")
    return found
