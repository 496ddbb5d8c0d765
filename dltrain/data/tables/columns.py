"""What the columns of a table mean: numbers, categories, texts, dates, or nothing that a model should see."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dltrain.data.images.column import names_images


class Meaning(StrEnum):
    """What a column is used as."""

    NUMBER = "number"
    CATEGORY = "category"
    TEXT = "text"
    IMAGE = "image"  # names of image files
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


MANY = 0.95
"""Part of a column's values that are different, from which whole numbers and words are identifiers."""
FEWEST = 20
"""Values from which a column can be an identifier."""
WORDS = 4
"""Mean number of words in a column's values, from which they are texts."""
NAMED_ID = re.compile(r"(^|.*[_ .-])(id|uuid|guid|key|index|nr|no)$", re.IGNORECASE)
"""Names of columns whose whole numbers, each once, are identifiers."""


def find_columns(
    frame: Any, meanings: Mapping[str, str], *, skip: Sequence[str] = (), folders: Sequence[Path] = ()
) -> list[Column]:
    """Find what each column of a polars frame means; `meanings` are the user's, by name.

    Args:
        frame: the rows, of the training split where that is known.
        meanings: column -> its meaning, which is not looked for.
        skip: columns that are used otherwise, such as the target.
        folders: where images are looked for that a column may name.
    """
    return [
        _find(frame[name], Meaning(meanings[name]) if name in meanings else None, folders)
        for name in frame.columns
        if name not in skip
    ]


def _find(series: Any, given: Meaning | None, folders: Sequence[Path]) -> Column:
    missing, distinct = series.null_count(), series.n_unique() - (series.null_count() > 0)
    present = series.drop_nulls()
    if given:
        found, why = given, "as you set it"
    elif not len(present):
        found, why = Meaning.CONSTANT, "no values"
    elif distinct == 1 and not missing:
        found, why = Meaning.CONSTANT, f"only {_short(present[0])}"
    else:
        found, why = _meaning(present, distinct, folders)
    return Column(series.name, found, why, missing, distinct)


def _meaning(present: Any, distinct: int, folders: Sequence[Path]) -> tuple[Meaning, str]:
    """Return the meaning of a column with these values, none of them missing, and the reason."""
    import polars as pl

    count, name = len(present), present.name
    if present.dtype.is_temporal():
        first, last = (str(found).removesuffix(" 00:00:00") for found in (present.min(), present.max()))
        return Meaning.DATE, f"from {first} to {last}"
    if present.dtype == pl.Boolean:
        return Meaning.CATEGORY, "true or false"
    many = count >= FEWEST and distinct >= MANY * count
    if present.dtype.is_numeric():
        each_once = (
            many
            and distinct == count
            and bool((present == present.round()).all() if present.dtype.is_float() else True)
        )
        consecutive = each_once and present.max() - present.min() < 2 * count
        if consecutive or (each_once and NAMED_ID.match(name)):
            return Meaning.IDENTIFIER, "whole numbers, each once"
        return Meaning.NUMBER, f"from {present.min():.10g} to {present.max():.10g}"
    if folders and names_images(present, folders):
        return Meaning.IMAGE, f"names of image files, such as {_short(present[0])}"
    words = present.str.count_matches(r"\S+").mean() or 0
    if words >= WORDS:
        return Meaning.TEXT, f"{words:.0f} words on average"
    if many:
        return Meaning.IDENTIFIER, f"{distinct:,} different values in {count:,} rows"
    return Meaning.CATEGORY, f"{distinct:,} different values"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 30 else f"{text[:27]}..."
