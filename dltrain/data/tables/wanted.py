"""What the user says about the columns of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dltrain.data.tables.options import MISSING


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
