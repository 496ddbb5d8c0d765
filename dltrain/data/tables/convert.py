"""Texts of a file -> numbers, truth values, dates and missing values; what does not fit makes a bad row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, bad_row, check_bad, quoted
from dltrain.data.tables.columns import Meaning
from dltrain.data.tables.options import Options
from dltrain.data.tables.raw import Raw

MOST = 3.4028235e38  # the largest float32, which a model computes in
ALIKE = 0.9  # part of a column's values that are numbers, or dates, from which the others are mistakes
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y-%m", "%d %b %Y", "%b %d, %Y"),
    *("%d-%b-%Y", "%d-%b-%y", "%m/%d/%y", "%B %d, %Y"),
)
TIMES = (
    "",
    " %H:%M",
    " %H:%M:%S",
    "T%H:%M",
    "T%H:%M:%S",
    " %H:%M:%S%.f",
    "T%H:%M:%S%.f",
    "T%H:%M:%S%#z",
    "T%H:%M:%S%.f%#z",
)
SAMPLE = 200  # values that are looked at first
FLAGS = ["true", "false"]
AS_WRITTEN = (Meaning.CATEGORY, Meaning.TEXT, Meaning.IMAGE, Meaning.IDENTIFIER, Meaning.IGNORED)
NONE, COMMA, THOUSANDS = "", ",", "1,000"


@dataclass(frozen=True)
class Kind:
    """What the texts of a column stand for.

    Attributes:
        kind: `number`, `date`, `flag` (true or false) or `text`.
        detail: the format of dates; what a comma in a number means.
        note: what the user should know.
    """

    kind: str
    detail: str = ""
    note: str = ""

    @property
    def expected(self) -> str:
        """What messages say of a value that does not fit."""
        return {"number": "a number", "date": f"a date as {_spelled(self.detail)}", "flag": "true or false"}.get(
            self.kind, "a value"
        )


def _spelled(format: str) -> str:
    """Return the format of a date as people write it."""
    signs = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%H": "hh", "%M": "mm", "%S": "ss", "%.f": ".f"}
    for sign, word in {**signs, "%b": "Mon", "%B": "Month", "%#z": "+hh:mm"}.items():
        format = format.replace(sign, word)
    return format


def convert(raw: Raw, options: Options) -> Raw:
    """Return the table with typed columns, without bad rows; the first file decides on the types.

    Raises:
        DataError: a value does not fit, and such rows are not to be left out.
    """
    typed, found = convert_columns(raw, options)
    bad = list({index: row for index, row in reversed(found)}.values())[::-1]  # the first of each row
    check_bad([*raw.bad, *bad], raw.total, options)
    mask = np.ones(len(raw.frame), bool)
    mask[[index for index, _ in found]] = False
    return typed.keep(mask, bad=bad)


def convert_columns(raw: Raw, options: Options) -> tuple[Raw, list[tuple[int, Bad]]]:
    """Return the table with typed columns, null where a value does not fit, and index and fault of such rows.

    The faults are in the order of the rows, and of the columns in a row.
    """
    import polars as pl

    decimal = (
        ("point" if raw.separator in ("", ",") else "either") if options.decimal == "auto" else options.decimal
    )
    meanings, alone = dict(options.meanings), len(raw.files) == 1
    first = raw.frame if alone else raw.frame.filter(raw.file == 0)
    columns, faults, notes, written = [], [], list(raw.notes), {}
    for name in raw.frame.columns:
        values = _cleaned(raw.frame[name], options)
        known = values if alone else _cleaned(first[name], options)
        wanted = name in raw.texts or meanings.get(name) in (Meaning.NUMBER, Meaning.DATE)
        if values.dtype == pl.String and wanted:
            kind = find_kind(known, decimal, meanings.get(name))
            notes += [f"column {name}: {kind.note}"] if kind.note else []
            written[name] = kind
            values, wrong = apply_kind(values, kind)
            faults += [(i, name, found, kind.expected) for i, found in wrong]
            values = missing_as_null(values, options.missing)
        faults += list(_beyond(values, raw.frame[name]))
        columns.append(values)
    faults.sort(key=lambda fault: fault[0])
    bad = [(i, bad_row(*raw.place(i), name, quoted(found), expected)) for i, name, found, expected in faults]
    return replace(raw, frame=pl.DataFrame(columns), notes=tuple(notes), written=written), bad


def _cleaned(values: Any, options: Options) -> Any:
    """Return a column with null for what is missing, and the label of a target without what is to be stripped."""
    import polars as pl

    values = missing_as_null(values, options.missing)
    if values.name in options.targets and options.strip_label and values.dtype == pl.String:
        return values.str.strip_chars_end(options.strip_label)
    return values


def missing_as_null(values: Any, missing: Sequence[str]) -> Any:
    """Return a column with null for NaN and for the markers of a missing value."""
    import polars as pl

    if values.dtype == pl.String:
        return values.set(values.is_in(list(missing)).fill_null(False), None) if missing else values
    if values.dtype.is_numeric():
        values = values.fill_nan(None) if values.dtype.is_float() else values
        marks = [number for text in missing if (number := _number(text)) is not None]
        if values.dtype.is_integer():
            marks = [int(number) for number in marks if number % 1 == 0 and abs(number) < 2**53]
        marks = pl.Series(marks, dtype=values.dtype, strict=False).drop_nulls()
        return values.set(values.is_in(marks.implode()).fill_null(False), None) if len(marks) else values
    return values


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return None if np.isnan(found) else found


def find_kind(values: Any, decimal: str, meaning: str | None = None) -> Kind:
    """Find what a column of texts stands for; `meaning` is the user's, which decides."""
    present = values.drop_nulls()
    if not len(present) or meaning in AS_WRITTEN:
        return Kind("text")
    if meaning == Meaning.DATE:
        return _date_kind(present, sure=True)
    signs = {"point": (NONE, THOUSANDS), "comma": (COMMA,), "either": (NONE, COMMA)}[decimal]
    share, sign = max(((_share(present, sign), sign) for sign in signs), key=lambda pair: pair[0])
    codes = share == 1 and present.str.contains(r"^0\d").any() and present.str.contains(r"^\d+$").all()
    if codes and meaning != Meaning.NUMBER:
        return Kind("text", note="has leading zeros, so its values are codes, not numbers")
    if meaning == Meaning.NUMBER or share >= ALIKE:
        return Kind("number", sign, {NONE: "", COMMA: "decimal commas"}.get(sign, "commas separate thousands"))
    if share >= 0.5:
        odd = quoted(present.filter(as_numbers(present, sign).is_null())[0])
        return Kind("text", note=f"{share:.0%} of its values are numbers, others are not, such as {odd}")
    if present.head(SAMPLE).str.to_lowercase().is_in(FLAGS).all() and present.str.to_lowercase().is_in(FLAGS).all():
        return Kind("flag")
    return _date_kind(present, sure=False)


def _share(present: Any, sign: str) -> float:
    """Return the part of the values that are numbers; 0 at once if a sample has none."""
    if len(present) > SAMPLE and as_numbers(present.head(SAMPLE), sign).null_count() == SAMPLE:
        return 0.0
    return as_numbers(present, sign).is_not_null().mean()


def _date_kind(present: Any, *, sure: bool) -> Kind:
    sample = present.head(SAMPLE)
    likely = sample.str.contains(r"^\S*\d+\S*[-/. :,]").mean() or 0
    if likely < ALIKE and not sure:
        return Kind("text")
    formats = [date + time for date in DATES for time in TIMES]
    best = max(formats, key=lambda format: as_dates(sample, format).is_not_null().mean())
    share = as_dates(present, best).is_not_null().mean()
    if share < ALIKE and not sure:
        return Kind("text")
    other = best.replace("%m/%d", "%d/%m")
    unsure = other != best and as_dates(present, other).is_not_null().mean() == share
    return Kind("date", best, "day and month cannot be told apart; read as month/day" if unsure else "")


def apply_kind(values: Any, kind: Kind) -> tuple[Any, list[tuple[int, str]]]:
    """Convert a column; return it, and index and text of each value that does not fit."""
    import polars as pl

    if kind.kind == "text":
        return values, []
    if kind.kind == "flag":
        found = values.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    elif kind.kind == "date":
        found = as_dates(values, kind.detail)
    else:
        found = as_numbers(values, kind.detail)
    wrong = (values.is_not_null() & found.is_null()).arg_true().to_list()
    return _whole(found, values) if kind.kind == "number" else found, [(i, values[i]) for i in wrong]


def _whole(found: Any, texts: Any) -> Any:
    """Return whole numbers as such, read from their texts if float64 has not enough digits."""
    import polars as pl

    found = found.fill_nan(None)
    if not (found == found.round()).all() or found.is_infinite().any():
        return found
    if (found.abs().max() or 0) < 2**53:
        return found.cast(pl.Int64)
    whole = texts.cast(pl.Int64, strict=False)
    return whole if (whole.is_null() == found.is_null()).all() else found


def plain_numbers(values: Any, decimals: bool) -> Any:
    """Return a column of texts as numbers if all of them are; codes with leading zeros stay texts.

    Args:
        values: a polars column.
        decimals: whether a comma may be a decimal sign.
    """
    import polars as pl

    if values.dtype != pl.String or values.str.contains(r"^\s*0\d").any():
        return values
    texts, signs = values.str.strip_chars(), (NONE, COMMA) if decimals else (NONE,)
    for found in (texts.cast(pl.Int64, strict=False), *(as_numbers(texts, sign) for sign in signs)):
        if found.null_count() == values.null_count() < len(values):
            return found
    return values


def as_numbers(values: Any, sign: str) -> Any:
    """Read texts as numbers, null where they are none; `sign` says what a comma means."""
    import polars as pl

    if sign == COMMA:
        values = values.str.replace(r"^([^.,]*),", "$1.")
    found = values.cast(pl.Float64, strict=False)
    if sign == THOUSANDS and found.null_count() > values.null_count():
        grouped = values.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$").fill_null(False)
        found = found.zip_with(~grouped, values.str.replace_all(",", "").cast(pl.Float64, strict=False))
    return found


def as_dates(values: Any, format: str) -> Any:
    """Read texts as dates, null where they are none."""
    if "%d" not in format:  # a month alone: polars needs a day
        values, format = values + "-01", f"{format}-%d"
    found = values.str.to_datetime(format, strict=False, exact=True, time_unit="us")
    return found.dt.replace_time_zone(None)


def _beyond(values: Any, found: Any) -> Iterator[tuple[int, str, Any, str]]:
    """Yield the numbers that are infinite, or larger than a float32 can be; `found` is the column of the file."""
    if values.dtype.is_float():
        large = (values.is_infinite() | (values.abs() > MOST)).fill_null(False)
        for i in large.arg_true().to_list():
            yield i, values.name, found[i], f"a number between -{MOST:.2g} and {MOST:.2g}"
