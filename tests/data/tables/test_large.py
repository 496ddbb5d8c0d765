"""A table that does not fit into memory gives the same arrays as one that does, bit for bit."""

import datetime

import numpy as np
import polars as pl
import pytest

from dltrain.data.sources.table import TableSource, load_table
from dltrain.data.tables import large
from dltrain.data.tables.large import LargeTable
from dltrain.errors import DataError
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
    assert big.where(301) == f"{tmp_path}/test.csv, row 2"


def test_it_is_encoded_once(tmp_path, capsys):
    path = write(tmp_path / "x.csv", frame())
    for _ in range(2):
        load_table(str(path), target="price", memory_left=TINY).encode(np.arange(400))
    err = capsys.readouterr().err
    assert err.count("converting x.csv (0 MB) to columns") == 1
    assert err.count("encoding x.csv (500 rows)") == 1


FAULTS = {
    "an unknown target": ({"target": "prize"}, "data.target=prize: x.csv has no such column; did you mean price?"),
    "an unknown column": ({"target": "price", "meanings": {"rums": "number"}}, "data.meanings=rums: x.csv has no"),
    "bad rows to skip": ({"target": "price", "on_bad": "skip"}, "bad rows cannot be left out then"),
    "another encoding": ({"target": "price", "encoding": "latin-1"}, "must then be UTF-8 text"),
    "missing targets": (
        {"target": "size", "missing_target": "refuse"},
        "row 1: the target size is missing, and in 72",
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
    with pytest.raises(DataError, match="is not a table that can be read in blocks"):
        load_table(str(path), target="price", memory_left=TINY)
    path = write(tmp_path / "x.parquet", frame())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="the Parquet file is damaged or cut short"):
        load_table(str(path), target="price", memory_left=TINY)
