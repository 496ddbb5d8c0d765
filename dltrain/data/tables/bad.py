"""Rows that cannot be read: what was found where, and whether such rows end the run or are left out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from dltrain.data.tables.options import OnBad, Options
from dltrain.errors import DataError

SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class BadRow:
    """One row that cannot be read.

    Attributes:
        file: the path.
        row: the row as the file counts it, such as `line 7`.
        column: name of the column, "" if it is the row as a whole.
        found: what was found.
        expected: what would be right.
    """

    file: str
    row: str
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        """Return the message for the user."""
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}, {self.row}{column}: found {self.found}, expected {self.expected}"


def settle(bad: Sequence[BadRow], rows: int, options: Options) -> None:
    """Raise DataError unless these of `rows` rows may be left out (`data.on_bad`, `data.most_bad`)."""
    if not bad:
        return
    count = f"{len(bad):,} of {rows:,} rows {'is' if len(bad) == 1 else 'are'} bad"
    if options.on_bad is OnBad.ERROR:
        more = f" ({count})" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}; correct the file, or leave such rows out with data.on_bad=skip")
    if len(bad) > options.most_bad * rows:
        share, most = len(bad) / rows, options.most_bad
        raise DataError(f"{count}, {share:.2%}, more than data.most_bad={most:g} allows; the first: {bad[0]}")


def listed(bad: Sequence[BadRow]) -> str:
    """Return bad rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "row", "column", "found", "expected"))
    writer.writerows((row.file, row.row, row.column, row.found, row.expected) for row in bad)
    return text.getvalue()


def quoted(value: object) -> str:
    """Return a value of a file for a message, shortened."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
