"""Examples that cannot be read: refused, or left out and reported (`data.on_bad`, `data.most_bad`)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from dltrain.data.tables.options import OnBad
from dltrain.errors import DataError

SHOWN = 5  # in a message


@dataclass(frozen=True)
class Bad:
    """One example that cannot be read: the file, or its row, and what is wrong with it."""

    where: str
    why: str

    def __str__(self) -> str:
        """Format it for a message."""
        return f"{self.where}: {self.why}"


def check_bad(found: Sequence[Bad], total: int, *, on_bad: OnBad, most_bad: float, what: str) -> str:
    """Raise DataError for bad examples, or return a note where they are to be left out, "" if there are none.

    Args:
        found: the bad examples.
        total: number of all examples, good or bad.
        on_bad: what to do with them.
        most_bad: largest part of the examples that may be left out.
        what: the examples, in the plural: images, rows.
    """
    if not found:
        return ""
    if on_bad is OnBad.ERROR:
        more = f" ({len(found)} of {total:,} {what} cannot be read)" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}; repair or remove it, or leave such {what} out with data.on_bad=skip")
    listed = "; ".join(map(str, found[:SHOWN])) + "; ..." * (len(found) > SHOWN)
    if len(found) > most_bad * total:
        raise DataError(
            f"data.most_bad={most_bad:g}: {len(found)} of {total:,} {what} cannot be read, which is "
            f"{len(found) / total:.1%}: {listed}"
        )
    skipped = f"{len(found)} of {total:,} {what} cannot be read and are left out"
    return f"{skipped}; bad_rows.csv of a run lists them: {listed}"


def as_csv(found: Sequence[Bad]) -> str:
    """Return bad examples as CSV, for the run folder; "" if there are none."""
    if not found:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("where", "why"))
    writer.writerows((bad.where, bad.why) for bad in found)
    return text.getvalue()
