"""A table that does not fit into memory gives the same arrays as one that does, bit for bit."""

import codecs
import datetime
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from dltrain.build.look import Look
from dltrain.data.quality.finding import What
from dltrain.data.sources.table import TableSource, load_table
from dltrain.data.split import make_splits
from dltrain.data.tables import columnar, dialect, large, parts
from dltrain.data.tables.large import LargeTable
from dltrain.errors import DataError, DiskError
from dltrain.report.inspection import findings
from dltrain.tasks.regression import Regression
from dltrain.tree import flattened

ROWS = 500
ROOM = 1 << 30
TINY = 1000  # bytes: no table fits


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(large, "BLOCK", 64)


def frame(missing_targets=False):
    rng = np.random.default_rng(0)
    start = datetime.datetime(2020, 1, 1)
    numbers = rng.normal(size=ROWS)
    return pl.DataFrame(
        {
            "size": [None if i % 7 == 0 else float(v) for i, v in enumerate(numbers)],
            "rooms": rng.integers(1, 6, ROWS),
            "code": [f"{v:03d}" for v in rng.integers(0, 50, ROWS)],
            "town": [None if i % 11 == 0 else f"town {v}" for i, v in enumerate(rng.integers(0, 9, ROWS))],
            "built": [start + datetime.timedelta(hours=int(v)) for v in rng.integers(0, 9999, ROWS)],
            "seconds": 1.6e9 + np.arange(ROWS) / 7,
            "same": ["x"] * ROWS,
            "price": [None if missing_targets and i % 5 == 2 else float(v) for i, v in enumerate(numbers * 3)],
            "kind": rng.choice(["a", "b", "c"], ROWS),
        }
    )


def write(path, data):
    (data.write_csv if path.suffix == ".csv" else data.write_parquet)(path)
    return path


def both(path, **options):
    small, big = (load_table(str(path), memory_left=room, **options) for room in (ROOM, TINY))
    assert isinstance(small, TableSource)
    assert isinstance(big, LargeTable)
    return small, big


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("missing", [False, True])
def test_arrays_encoder_and_fingerprint_are_those_of_the_table_in_memory(tmp_path, ending, missing):
    path = write(tmp_path / f"x.{ending}", frame(missing))
    small, big = both(path, target="price", task=Regression(), weight="rooms")
    assert len(small) == len(big) == ROWS - 100 * missing
    assert small.suggestion == big.suggestion
    np.testing.assert_array_equal(small.read_targets(), big.read_targets(), strict=True)
    np.testing.assert_array_equal(small.column("kind"), big.column("kind"))
    train = np.sort(np.random.default_rng(1).permutation(len(small))[:300])
    (rows, encoder), (mapped, other) = small.encode(train), big.encode(train)
    assert encoder.to_json() == other.to_json()
    assert rows.spec == mapped.spec
    assert rows.fingerprint == mapped.fingerprint
    found = flattened(dict(mapped.arrays))
    for name, array in flattened(dict(rows.arrays)).items():
        np.testing.assert_array_equal(array, found[name], strict=True)


def test_classes_and_files_of_splits_are_those_of_the_table_in_memory(tmp_path):
    data = frame()
    for name, part in (("train", data[:300]), ("test", data[300:])):
        write(tmp_path / f"{name}.csv", part)
    small, big = both(tmp_path / "train.csv", target="kind", test_path=str(tmp_path / "test.csv"))
    assert small.spec.classes == big.spec.classes == ("a", "b", "c")
    np.testing.assert_array_equal(small.read_targets(), big.read_targets())
    np.testing.assert_array_equal(small.published["test"], big.published["test"])
    rows, mapped = (source.encode(np.arange(300))[0] for source in (small, big))
    assert rows.fingerprint == mapped.fingerprint
    assert small.where(301) == big.where(301) == f"{tmp_path}/test.csv, line 3"


def test_it_is_encoded_once(tmp_path, capsys):
    path = write(tmp_path / "x.csv", frame())
    for _ in range(2):
        load_table(str(path), target="price", memory_left=TINY).encode(np.arange(400))
    err = capsys.readouterr().err
    assert err.count("converting x.csv to columns (0 MB)") == 1
    assert err.count("encoding x.csv (500 rows)") == 1


FAULTS = {
    "an unknown target": ({"target": "prize"}, "data.target=prize: x.csv has no such column; did you mean price?"),
    "an unknown column": ({"target": "price", "meanings": {"rums": "number"}}, "data.meanings=rums: x.csv has no"),
    "another encoding": ({"target": "price", "encoding": "latin-1"}, "must then be UTF-8 text"),
    "missing targets": (
        {"target": "size", "missing_target": "refuse"},
        "line 2: the target size is missing, and in 72",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said(tmp_path, fault):
    options, message = FAULTS[fault]
    path = write(tmp_path / "x.csv", frame())
    with pytest.raises(DataError) as caught:
        load_table(str(path), memory_left=TINY, **options)
    assert message in str(caught.value)


def test_a_ragged_row_and_a_damaged_file_are_refused(tmp_path):
    path = write(tmp_path / "x.csv", frame())
    path.write_text(path.read_text() + "1,2,3,4,5,6,7,8,9,10,11\n")
    with pytest.raises(DataError, match=r"x\.csv, line 502: found 11 fields, expected 9 \(comma-separated\)"):
        load_table(str(path), target="price", memory_left=TINY)
    path = write(tmp_path / "x.parquet", frame())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="the Parquet file is damaged or cut short"):
        load_table(str(path), target="price", memory_left=TINY)


def spoil(path):
    """Three ragged rows, two of whose values do not fit, a comment, a byte order mark, and the lines that go."""
    lines = path.read_text().splitlines()
    lines[7], lines[200] = "1,2", lines[200] + ",more"
    for row, column, value in ((20, 0, "wide"), (20, 1, "many"), (400, 1, "few")):
        fields = lines[row].split(",")
        fields[column] = value
        lines[row] = ",".join(fields)
    lines.insert(300, '# a comment, with one "quote')
    path.write_bytes(codecs.BOM_UTF8 + "\n".join(lines).encode())


@pytest.mark.parametrize("block", [1 << 24, 2000])
def test_bad_rows_are_left_out_as_in_memory(tmp_path, monkeypatch, block):
    monkeypatch.setattr(columnar, "BLOCK", block)
    path = write(tmp_path / "x.csv", frame(missing_targets=True))
    spoil(path)
    options = {"target": "price", "task": Regression(), "comment": "#", "most_bad": 0.1}
    with pytest.raises(DataError, match=r"x\.csv, line 8: found 2 fields, expected 9"):
        load_table(str(path), memory_left=TINY, **options)
    small, big = both(path, on_bad="skip", **options)
    train = np.arange(0, len(small), 2)
    (rows, encoder), (mapped, other) = small.encode(train), big.encode(train)
    assert encoder.to_json() == other.to_json()
    assert rows.fingerprint == mapped.fingerprint
    assert [small.where(i) for i in range(len(small))] == [big.where(i) for i in range(len(big))]
    one, two = small.describe(train), big.describe(train)
    assert one.rows == two.rows
    assert sorted(one.bad_rows.splitlines()) == sorted(two.bad_rows.splitlines())
    assert [len(found.bad_rows.splitlines()) for found in (one, two)] == [5, 5]
    with pytest.raises(DataError, match=r"2 of 500 rows are bad, 0\.40%, more than data\.most_bad=0\.001 allows"):
        load_table(str(path), memory_left=TINY, on_bad="skip", **(options | {"most_bad": 0.001}))


def test_texts_are_left_out_and_listed(tmp_path):
    text = pl.Series("about", [f"a house with {i} windows and {i % 7} doors" for i in range(ROWS)])
    path = write(tmp_path / "x.csv", frame().with_columns(text))
    big = load_table(str(path), target="price", memory_left=TINY)
    (row,) = [row for row in big.describe(np.arange(400)).rows if row[0] == "about"]
    assert row[1:3] == ("ignored", "8 words on average; left out of so large a table")
    assert "about" not in big.encode(np.arange(400))[0].spec.inputs


def test_bytes_that_are_no_utf8_are_found_in_any_part(tmp_path, monkeypatch):
    monkeypatch.setattr(dialect, "HEAD", 1000)
    monkeypatch.setattr(columnar, "HEAD", 1000)
    path = write(tmp_path / "x.csv", frame())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"town", b"t\xf6wn") if b"town" not in content[:2000] else content + b"\xf6\n")
    with pytest.raises(DataError, match=r"x\.csv, line \d+: found the byte 0xf6, expected UTF-8"):
        load_table(str(path), target="price", memory_left=TINY)


def test_an_interrupted_conversion_continues(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(columnar, "BLOCK", 2000)
    path, load = write(tmp_path / "x.csv", frame()), {"target": "price", "memory_left": TINY}
    write_part, done = columnar._write, []

    def stop(*args):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(write_part(*args))

    monkeypatch.setattr(columnar, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        load_table(str(path), **load)
    parts = list((tmp_path / "cache").rglob("rows-*.parquet"))
    assert len(parts) == 7
    times = {part: part.stat().st_mtime_ns for part in parts}
    monkeypatch.setattr(columnar, "_write", write_part)
    big = load_table(str(path), **load)
    assert {part: part.stat().st_mtime_ns for part in parts} == times
    rows, _ = load_table(str(path), target="price", memory_left=ROOM).encode(np.arange(400))
    assert big.encode(np.arange(400))[0].fingerprint == rows.fingerprint
    assert big.where(499).endswith("line 501")


def test_a_damaged_state_of_a_conversion_is_named(tmp_path):
    path = write(tmp_path / "x.csv", frame())
    load_table(str(path), target="price", memory_left=TINY)
    (state,) = (tmp_path / "cache").rglob("state.json")
    state.write_text("{")
    parts._open_kept.cache_clear()
    with pytest.raises(DiskError, match=r"state\.json: is damaged; remove the folder"):
        load_table(str(path), target="price", memory_left=TINY)


def test_inspect_says_that_a_large_table_is_not_compared(tmp_path):
    big = load_table(str(write(tmp_path / "x.csv", frame())), target="price", memory_left=TINY, task=Regression())
    splits = make_splits(None, len(big), published={}, validation=0.1, test=0.2, seed=0)
    look = Look(big, replace(big.spec, task=Regression()), big.read_targets(), splits, None)
    assert [one.what for one in findings(look)] == [What.UNCHECKED]
