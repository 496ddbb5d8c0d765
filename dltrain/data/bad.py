"""Examples that cannot be read: refused, or left out and reported (`data.on_bad`, `data.most_bad`)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dltrain.errors import DataError

SHOWN = 5  # in a message


class OnBad(StrEnum):
    """What happens to examples that cannot be read."""

    ERROR = "error"
    SKIP = "skip"  # they are left out, if they are few


@dataclass(frozen=True)
class Bad:
    """One example that cannot be read: the file, or its row, and what is wrong with it."""

    where: str
    why: str

    def __str__(self) -> str:
        """Format it for a message."""
        return f"{self.where}: {self.why}"


def check_bad(found: Sequence[Bad], total: int, *, on_bad: OnBad, most_bad: float, what: str) -> None:
    """Raise DataError for bad examples, or report them on stderr where they are to be left out.

    Args:
        found: the bad examples.
        total: number of all examples, good or bad.
        on_bad: what to do with them.
        most_bad: largest part of the examples that may be left out.
        what: the examples, in the plural: images, rows.
    """
    if not found:
        return
    if on_bad is OnBad.ERROR:
        more = f" ({len(found)} of {total:,} {what} cannot be read)" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}; repair or remove it, or leave such {what} out with data.on_bad=skip")
    listed = "; ".join(map(str, found[:SHOWN])) + "; ..." * (len(found) > SHOWN)
    if len(found) > most_bad * total:
        raise DataError(
            f"data.most_bad={most_bad:g}: {len(found)} of {total:,} {what} cannot be read, which is "
            f"{len(found) / total:.1%}: {listed}"
        )
    print(f"dltrain: left out {len(found)} of {total:,} {what}: {listed}", file=sys.stderr, flush=True)
