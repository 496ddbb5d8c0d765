"""What the columns of a table mean: numbers, categories, texts, dates, or nothing that a model should see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Meaning(StrEnum):
    """What a column is used as."""

    NUMBER = "number"
    CATEGORY = "category"
    TEXT = "text"
    DATE = "date"
    IDENTIFIER = "identifier"  # left out
    CONSTANT = "constant"  # left out
    IGNORED = "ignored"  # left out

    @property
    def is_input(self) -> bool:
        """Whether a model is given it."""
        return self not in (Meaning.IDENTIFIER, Meaning.CONSTANT, Meaning.IGNORED)


@dataclass(frozen=True)
class Column:
    """One column and what was found in it.

    Attributes:
        name: its name in the file.
        meaning: what it is used as.
        why: the reason, in a few words.
        missing: number of missing values.
        distinct: number of different values.
    """

    name: str
    meaning: Meaning
    why: str
    missing: int
    distinct: int


NUMERIC_CLASSES = 20
"""Most different whole numbers of a column that are taken for categories, where they are a target."""
MANY = 0.95
"""Part of a column's values that are different, from which whole numbers and words are identifiers."""
WORDS = 4
"""Mean number of words in a column's values, from which they are texts."""


def find_columns(frame: Any, meanings: Mapping[str, str], *, skip: Sequence[str] = ()) -> list[Column]:
    """Find what each column of a polars frame means; `meanings` are the user's, by name.

    Args:
        frame: the rows, of the training split where that is known.
        meanings: column -> its meaning, which is not looked for.
        skip: columns that are used otherwise, such as the target.
    """
    return [
        _find(frame[name], Meaning(meanings[name]) if name in meanings else None)
        for name in frame.columns
        if name not in skip
    ]


def _find(series: Any, given: Meaning | None) -> Column:
    import polars as pl

    missing, distinct = series.null_count(), series.n_unique() - (series.null_count() > 0)
    present, count = series.drop_nulls(), len(series) - series.null_count()

    def found(meaning: Meaning, why: str) -> Column:
        return Column(series.name, meaning, why, missing, distinct)

    if given:
        return found(given, "as you set it")
    if distinct <= 1 and not (missing and distinct):
        return found(Meaning.CONSTANT, f"only {present[0]!r}" if count else "no values")
    if series.dtype.is_temporal():
        return found(Meaning.DATE, f"dates from {present.min()} to {present.max()}")
    if series.dtype == pl.Boolean:
        return found(Meaning.CATEGORY, "two values")
    many = count >= 20 and distinct >= MANY * count
    if series.dtype.is_numeric():
        consecutive = many and series.dtype.is_integer() and present.max() - present.min() < 2 * count
        if consecutive and distinct == count:
            return found(Meaning.IDENTIFIER, "consecutive whole numbers, each once")
        return found(Meaning.NUMBER, f"from {present.min():g} to {present.max():g}")
    words = present.str.count_matches(r"\S+").mean() or 0
    if words >= WORDS:
        return found(Meaning.TEXT, f"{words:.0f} words on average")
    if many:
        return found(Meaning.IDENTIFIER, f"{distinct:,} different values in {count:,} rows")
    return found(Meaning.CATEGORY, f"{distinct:,} different values")
