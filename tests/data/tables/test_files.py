"""Tables in many files: the rows of one file, whether in memory or not, local or in an object store."""

import fsspec
import numpy as np
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dltrain.data.sources.table import TableSource, load_table
from dltrain.data.tables import large
from dltrain.data.tables.large import LargeTable
from dltrain.errors import DataError
from dltrain.tree import flattened

ROWS = 90
ROOMS = {TableSource: 1 << 30, LargeTable: 1000}


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(large, "BLOCK", 16)


@pytest.fixture
def parts(tmp_path):
    """A table, as one file and as a folder of three."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"x": rng.normal(size=ROWS), "town": rng.choice(["a", "b", "c"], ROWS), "price": rng.normal(size=ROWS)}
    )
    frame.write_parquet(tmp_path / "whole.parquet")
    (tmp_path / "parts").mkdir()
    for i in range(3):
        frame[i * 30 : i * 30 + 30].write_parquet(tmp_path / f"parts/part-{i}.parquet")
    return tmp_path / "parts"


def arrays(source):
    rows, encoder = source.encode(np.arange(60))
    return flattened(dict(rows.arrays)), encoder.to_json()


@pytest.mark.parametrize("kind", ROOMS)
@pytest.mark.parametrize("pattern", ["", "/part-*.parquet", "/part-{0..2}.parquet"])
def test_many_files_have_the_rows_of_one(parts, kind, pattern):
    load = {"target": "price", "memory_left": ROOMS[kind]}
    many, one = load_table(f"{parts}{pattern}", **load), load_table(str(parts.parent / "whole.parquet"), **load)
    assert isinstance(many, kind)
    (found, encoder), (expected, same) = arrays(many), arrays(one)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    assert encoder == same
    assert many.where(31).endswith("part-1.parquet, row 2")
    files = many.describe_files().files
    assert {name: size for name, (size, _) in files.items()} == {
        path.name: path.stat().st_size for path in parts.iterdir()
    }
    assert not one.describe_files().files


@pytest.mark.parametrize("kind", ROOMS)
def test_splits_have_files_of_their_own_by_key_and_by_name(parts, kind):
    load = {"target": "price", "memory_left": ROOMS[kind]}
    typed = load_table(f"{parts}/part-{{0..1}}.parquet", test_path=f"{parts}/part-2.parquet", **load)
    assert typed.published["test"].tolist() == list(range(60, 90))
    for i, name in enumerate(("train-0", "train-1", "val-0")):
        (parts / f"part-{i}.parquet").rename(parts / f"{name}.parquet")
    named = load_table(str(parts), **load)
    assert {name: rows.tolist() for name, rows in named.published.items()} == {"validation": list(range(60, 90))}


@pytest.mark.parametrize("kind", ROOMS)
def test_files_of_an_object_store_are_copied_here(parts, kind, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    system = fsspec.filesystem("memory")
    for path in parts.iterdir():
        system.pipe(f"/bucket/{path.name}", path.read_bytes())
    load = {"target": "price", "memory_left": ROOMS[kind]}
    remote = load_table("memory://bucket/part-{0..2}.parquet", **load)
    assert remote.fingerprint == load_table(str(parts), **load).fingerprint
    with pytest.raises(DataError, match=r"part-3\.parquet \(data\.path\): does not exist; a shard is lost"):
        load_table("memory://bucket/part-{0..3}.parquet", **load)


@pytest.mark.parametrize("kind", ROOMS)
def test_a_lost_and_a_damaged_file_are_named(parts, kind):
    load = {"target": "price", "memory_left": ROOMS[kind]}
    with pytest.raises(
        DataError, match=r"part-3\.parquet \(data\.path\): the file does not exist; a shard is lost"
    ):
        load_table(f"{parts}/part-{{0..3}}.parquet", **load)
    whole = (parts / "part-1.parquet").read_bytes()
    (parts / "part-1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"part-1\.parquet"):
        load_table(str(parts), **load)
    pl.DataFrame({"x": [1.0], "price": [1.0]}).write_parquet(parts / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-1\.parquet: has no column town"):
        load_table(str(parts), **load)
