"""What a source found in its files, for the user: printed at the start of a run, and kept in its folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Description:
    """What a source that encodes its examples says about them: its method `describe(train)` returns this.

    Attributes:
        notes: sentences, such as the format of a file, and how many rows were left out.
        headings: of the table, such as the columns of a file.
        rows: its cells.
        bad_rows: the rows that were left out, as CSV; "" if there are none.
        files: of data in many files, size in bytes and SHA-256 of each, by name; a run records them.
    """

    notes: Sequence[str] = ()
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    bad_rows: str = ""
    files: Mapping[str, Sequence[Any]] = field(default_factory=dict)


Where = Callable[[int], str]
"""Index of an example -> what messages call it, such as file and row."""


def example(index: int) -> str:
    """Name an example by its number."""
    return f"example {index}"


def where_of(source: Any, index: int) -> str:
    """Return where an example of a source is, such as file and row, or its number."""
    return (source.where(index) if hasattr(source, "where") else "") or example(index)


def describe(source: Any, train: Any) -> Description | None:
    """Return what a source says about its examples, if it does; `train` are the training examples."""
    return source.describe(train) if hasattr(source, "describe") else None
