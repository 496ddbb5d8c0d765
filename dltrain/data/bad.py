"""Examples that cannot be read: refused, or left out and listed (`data.on_bad`, `data.most_bad`)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from dltrain.errors import DataError

SHOWN = 60  # characters of a value in a message
HEADINGS = ("file", "row", "column", "wrong")


class OnBad(StrEnum):
    """What happens to an example that cannot be read."""

    ERROR = "error"
    SKIP = "skip"


class Limits(Protocol):
    """How many bad examples are left out."""

    @property
    def on_bad(self) -> OnBad:
        """Whether they end the run."""
        ...

    @property
    def most_bad(self) -> float:
        """The largest part of the examples that is left out."""
        ...


@dataclass(frozen=True)
class Skipping:
    """Limits that the user sets for images and the like."""

    on_bad: OnBad
    most_bad: float


@dataclass(frozen=True)
class Bad:
    """One example that cannot be read.

    Attributes:
        file: the path.
        row: the row as the file counts it, such as `line 7`; "" if the file is the example.
        column: name of the column, "" if it is the row as a whole.
        wrong: what is wrong, and what would be right.
    """

    file: str
    row: str
    column: str
    wrong: str

    def __str__(self) -> str:
        """Format it for a message."""
        places = (self.file, self.row, self.column and f"column {self.column}")
        return f"{', '.join(filter(None, places))}: {self.wrong}"


class Problem(NamedTuple):
    """What is wrong with one of several records that a program was given."""

    column: str  # "" if it has no columns
    wrong: str  # what is wrong, and what would be right

    def __str__(self) -> str:
        """Format it for a message."""
        return f"column {self.column}: {self.wrong}" if self.column else self.wrong


def bad_row(file: str, row: str, column: str, found: str, expected: str) -> Bad:
    """Return a row of a table that cannot be read."""
    return Bad(file, row, column, f"found {found}, expected {expected}")


def check_bad(found: Sequence[Bad], total: int, limits: Limits, *, what: str = "rows") -> str:
    """Return a note about bad examples that are left out, "" if there are none.

    Args:
        found: the bad examples.
        total: number of all examples, good or bad.
        limits: what to do with them.
        what: the examples, in the plural.

    Raises:
        DataError: they are not to be left out, or are too many.
    """
    if not found:
        return ""
    count = f"{len(found):,} of {total:,} {what} {'is' if len(found) == 1 else 'are'} bad"
    if limits.on_bad is OnBad.ERROR:
        more = f" ({count})" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}; correct it, or leave such {what} out with data.on_bad=skip")
    if len(found) > limits.most_bad * total:
        share, most = len(found) / total, limits.most_bad
        raise DataError(f"{count}, {share:.2%}, more than data.most_bad={most:g} allows; the first: {found[0]}")
    return f"{count} and left out; bad_rows.csv of a run lists them: {found[0]}"


def as_csv(found: Sequence[Bad]) -> str:
    """Return bad examples as CSV, for the run folder; "" if there are none."""
    if not found:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows(astuple(bad) for bad in found)
    return text.getvalue()


def quoted(value: object) -> str:
    """Return a value of a file for a message, shortened."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
