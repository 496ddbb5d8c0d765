"""A table as it was read: its rows, where each is in its file, what was wrong, and what was detected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dltrain.data.bad import Bad


@dataclass(frozen=True, eq=False)
class Raw:
    """The rows of one or more files.

    Attributes:
        frame: a polars frame; of text files all columns are texts.
        files: the paths.
        file: the file of each row, int [N].
        rows: the row as its file counts it, int [N]: lines of a text file, else rows from 1.
        unit: `line` or `row`, of each file.
        texts: columns of texts that may stand for numbers and dates.
        notes: what was detected, a line for each.
        bad: rows that were left out.
        total: number of rows with the bad ones.
        separator: of the fields of a text file.
        written: how the texts of columns were read, a `dltrain.data.tables.convert.Kind` for each.
    """

    frame: Any
    files: tuple[str, ...]
    file: np.ndarray
    rows: np.ndarray
    unit: tuple[str, ...]
    texts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    total: int = 0
    separator: str = ""
    written: Mapping[str, Any] = field(default_factory=dict)

    def place(self, index: int) -> tuple[str, str]:
        """Return the file of a row, and the row as the file counts it."""
        file = int(self.file[index])
        return self.files[file], f"{self.unit[file]} {self.rows[index]:,}".replace(",", "")

    def where(self, index: int) -> str:
        """Return file and row for a message."""
        return ", ".join(self.place(index))

    def keep(self, mask: np.ndarray, *, bad: Sequence[Bad] = ()) -> "Raw":
        """Keep some rows, bool [N]; `bad` says why others go."""
        left = {"frame": self.frame.filter(mask), "file": self.file[mask], "rows": self.rows[mask]}
        return replace(self, **left, bad=(*self.bad, *bad))


def joined(parts: Sequence[Raw]) -> Raw:
    """Put files with the same columns below one another."""
    import polars as pl

    first = parts[0]
    return replace(
        first,
        frame=pl.concat([part.frame for part in parts]),
        files=tuple(name for part in parts for name in part.files),
        file=np.concatenate([np.full(len(part.rows), i, np.int16) for i, part in enumerate(parts)]),
        rows=np.concatenate([part.rows for part in parts]),
        unit=tuple(unit for part in parts for unit in part.unit),
        notes=tuple(note for part in parts for note in part.notes),
        bad=tuple(row for part in parts for row in part.bad),
        total=sum(part.total for part in parts),
    )
