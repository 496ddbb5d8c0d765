"""Any table that polars can write reads back row for row."""

import datetime
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from dltrain.data.tables.options import Options
from dltrain.data.tables.read import read_table

NAMES = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=2, max_size=5, unique=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=12)
WORDS = TEXTS.filter(lambda text: text not in ("", "NA", "NaN", "null", "?"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
COLUMNS = {
    "whole": (pl.Int64, st.integers(-(2**53), 2**53)),
    "number": (pl.Float64, FLOATS),
    "flag": (pl.Boolean, st.booleans()),
    "text": (pl.String, WORDS),
    "date": (pl.Datetime("us"), st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1))),
}


@st.composite
def tables(draw: Any) -> pl.DataFrame:
    names, count = draw(NAMES), draw(st.integers(1, 8))
    columns = []
    for name in names:
        dtype, values = COLUMNS[draw(st.sampled_from(sorted(COLUMNS)))]
        found = draw(st.lists(st.none() | values, min_size=count, max_size=count))
        columns.append(pl.Series(name, found, dtype=dtype))
    return pl.DataFrame(columns)


@settings(max_examples=60, deadline=None)
@given(tables())
@pytest.mark.parametrize(("suffix", "method"), [("parquet", "write_parquet"), ("feather", "write_ipc")])
def test_typed_files_read_back_row_for_row(tmp_path_factory, suffix, method, table):
    path = tmp_path_factory.mktemp("t") / f"t.{suffix}"
    getattr(table, method)(path)
    found = read_table([path], Options(), most=1 << 30).frame
    assert found.schema == table.schema and found.rows() == table.rows()


@settings(max_examples=60, deadline=None)
@given(tables())
def test_json_lines_read_back_row_for_row(tmp_path_factory, table):
    plain = table.with_columns(pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%S%.6f"))
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    plain.write_ndjson(path)
    found = read_table([path], Options(), most=1 << 30).frame
    assert found.rows() == plain.rows()


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from([",", ";", "\t", "|"]), st.booleans(), st.booleans())
@pytest.mark.slow
def test_text_files_read_back_row_for_row(tmp_path_factory, table, separator, crlf, mark):
    """Texts, whatever is in them; what stands for numbers is compared as numbers."""
    path = tmp_path_factory.mktemp("t") / "t.csv"
    written = {"separator": separator, "quote_style": "non_numeric", "line_terminator": "\r\n" if crlf else "\n"}
    table.write_csv(path, **written, include_bom=mark)
    meanings = tuple((name, "category") for name, dtype in table.schema.items() if dtype == pl.String)
    options = Options(separator=separator, quote='"', header=True, decimal="point", meanings=meanings)
    found = read_table([path], options, most=1 << 30)
    assert found.raw.rows.tolist() == _lines(table)
    for name, dtype in table.schema.items():
        values = found.frame[name]
        if dtype != pl.String and table[name].null_count() < len(table):
            values = values.cast(dtype)
        assert values.to_list() == table[name].to_list(), name


def _lines(table: pl.DataFrame) -> list[int]:
    """Number the line in which each row begins, as the file counts them: a text may hold line feeds."""
    breaks = [sum(value.count("\n") for value in row if isinstance(value, str)) for row in table.rows()]
    return [2 + i + sum(breaks[:i]) for i in range(len(breaks))]
