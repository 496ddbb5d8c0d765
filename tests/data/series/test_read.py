"""Each mistake in a file of series is named with its row, and what is changed is reported."""

import numpy as np
import pytest

from dltrain.data.series.columns import Fill
from dltrain.data.series.read import Irregular
from dltrain.data.sources.series import load_series
from dltrain.errors import ConfigError, DataError

DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]
ROWS = [f"{day},{i},{i / 2}" for i, day in enumerate(DAYS)]
CUT = {"look_back": 3, "horizon": 2, "time": "day"}


def with_row(number, text):
    """The rows, of which one, as the file counts them, is another."""
    return [*ROWS[: number - 2], text, *ROWS[number - 1 :]]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (with_row(5, "2024-01-03,3,1.5"), {}, "rows 4 and 5 have the same time"),
        (with_row(5, "2023-12-31,3,1.5"), {}, "row 5 is earlier than row 4 before it; data.sort=true"),
        (with_row(9, "tomorrow,7,3.5"), {}, "day: row 9: 'tomorrow' is not a time"),
        (with_row(9, ",7,3.5"), {}, "day: row 9 has no time"),
        (with_row(6, "2024-01-05,,2"), {}, "row 6, column a: no value (1 are missing: a 1); data.fill=ffill"),
        (with_row(6, "2024-01-05,x,2"), {}, "row 6, column a: 'x' is not a number, as the others of this column"),
        (with_row(6, "2024-01-05,x,2"), {"columns": "a"}, "row 6, column a: 'x' is not a number"),
        (with_row(7, "2024-01-06,inf,2"), {}, "row 7, column a: inf is not finite"),
        (with_row(7, "2024-01-06,1e39,2"), {}, "row 7, column a: 1e+39 is beyond the range of float32"),
        (with_row(2, "2024-01-01,,0"), {"fill": Fill.FFILL}, "row 2, column a: the series begins without a value"),
        ([*ROWS[:4], *ROWS[6:]], {"irregular": Irregular.REFUSE}, "1 row do not come one step after"),
        (ROWS, {"time": "Day"}, "has no column Day (data.time); did you mean day?"),
        (ROWS, {"columns": ["a", "cost"]}, "has no column cost (data.columns)"),
        (ROWS, {"known": "holiday"}, "has no column holiday (data.known)"),
        ([], {}, "has a header but no rows"),
    ],
)
def test_a_mistake_is_named_with_its_row(rows, options, message, written):
    path = written("day,a,b", *rows)
    with pytest.raises(DataError) as raised:
        load_series(path, **{**CUT, **options})
    assert str(raised.value).startswith(path) and message in str(raised.value)


def test_a_file_must_be_named(written):
    with pytest.raises(ConfigError, match=r"data\.path: missing; set data\.path=FILE"):
        load_series()


def test_a_time_that_may_be_of_two_formats_is_refused(written):
    path = written("day,a", *(f"01/{month:02}/2024,{month}" for month in range(1, 13)))
    with pytest.raises(ConfigError, match=r"may be %d/%m/%Y or %m/%d/%Y; set data\.time_format"):
        load_series(path, time="day", look_back=2, horizon=1)
    source = load_series(path, time="day", time_format="%d/%m/%Y", look_back=2, horizon=1, test=0.2)
    assert not any("one step after" in note for note in source.notes)  # months, of different lengths


def test_a_file_with_semicolons_and_decimal_commas_is_read_as_one_with_commas_and_points(written):
    rows = [row.replace(".", "!").replace(",", ";").replace("!", ",") for row in ROWS]
    german, plain = (
        load_series(written(header, *lines, name=name), **CUT)
        for header, lines, name in (("day;a;b", rows, "german.csv"), ("day,a,b", ROWS, "plain.csv"))
    )
    assert german.fingerprint == plain.fingerprint and ";" in rows[1] and ",5" in rows[1]


def test_rows_are_sorted_if_that_is_wanted(written):
    shuffled = np.random.default_rng(0).permutation(ROWS)
    sorted_, plain = (
        load_series(written("day,a,b", *rows, name=name), sort=True, **CUT)
        for rows, name in ((shuffled, "one.csv"), (ROWS, "two.csv"))
    )
    assert sorted_.fingerprint == plain.fingerprint


def test_rows_that_are_missing_are_reported(written):
    source = load_series(written("day,a,b", *ROWS[:4], *ROWS[6:9], *ROWS[10:]), **CUT)
    assert any("day: 2 rows do not come one step after the row before, first row 6" in n for n in source.notes)


@pytest.mark.parametrize(
    ("fill", "expected", "note"),
    [
        (Fill.FFILL, [0, 1, 1, 1, 4], "2 missing values were filled in (data.fill=ffill): a 2"),
        (Fill.INTERPOLATE, [0, 1, 2, 3, 4], "a value before a gap was computed from one after it"),
    ],
)
def test_missing_values_are_filled_in_and_counted(fill, expected, note, written):
    rows = [row if i not in (2, 3) else f"{DAYS[i]},NA,{i / 2}" for i, row in enumerate(ROWS)]
    source = load_series(written("day,a,b", *rows), fill=fill, **CUT)
    np.testing.assert_allclose(source.read_targets()[:5, 0], expected)
    assert any(note in n for n in source.notes)


def test_text_is_left_out_and_that_is_reported(written):
    source = load_series(written("day,a,b,city", *(f"{row},Rome" for row in ROWS)), **CUT)
    assert source.spec.input.names == ("a", "b")
    assert "left out, since they are not numbers: city" in source.notes


def test_numbers_that_float32_cannot_tell_apart_stay_float64(written):
    source = load_series(written("a", *(str(1_700_000_000 + i) for i in range(40))), look_back=3, horizon=2)
    assert source.read(np.arange(1))["targets"].dtype == np.float64 == np.dtype(source.spec.input.dtype)


@pytest.mark.parametrize(
    ("name", "write"), [("s.parquet", "write_parquet"), ("s.jsonl", "write_ndjson"), ("s.tsv", 0)]
)
def test_other_formats_give_the_same_rows(name, write, written, tmp_path):
    polars = pytest.importorskip("polars")
    path = written("day,a,b", *ROWS)
    frame = polars.read_csv(path)
    if write:
        getattr(frame, write)(tmp_path / name)
    else:
        frame.write_csv(tmp_path / name, separator="\t")
    assert load_series(str(tmp_path / name), **CUT).fingerprint == load_series(path, **CUT).fingerprint
