"""Converted arrays: exact, converted once, resumed after an interruption, limited in size, never removed in use."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from dltrain.data import workers
from dltrain.data.store import FOLDER, Column, open_store
from dltrain.errors import ConfigError, DataError, DiskError, WorkerError

COLUMNS = {"x": Column((3,), "float32"), "y": Column((), "int32")}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FOLDER


class Converter:
    """Counts the blocks that it converts; fails or waits at some."""

    def __init__(self, fail=None):
        self.blocks, self.fail = [], fail or {}

    def __call__(self, first, end):
        if first in self.fail:
            raise self.fail[first]
        self.blocks.append(first)
        numbers = np.arange(first, end)
        return {"x": np.stack([numbers, numbers**2, -numbers], 1).astype(np.float32), "y": numbers}, [first, end]


def convert(converter, key="a", examples=25, threads=2, block=4):
    return open_store(
        {"key": key}, COLUMNS, examples, block=block, convert=converter, what="converting", threads=threads
    )


def check(found, examples=25):
    numbers = np.arange(examples)
    np.testing.assert_array_equal(found.arrays["y"], numbers.astype(np.int32), strict=True)
    np.testing.assert_array_equal(
        found.arrays["x"], np.float32(np.stack([numbers, numbers**2, -numbers], 1)), strict=True
    )


@pytest.mark.parametrize(("examples", "block", "threads"), [(25, 4, 2), (24, 4, 3), (1, 64, 1), (25, 1, 8)])
def test_arrays_are_exact_read_only_and_converted_once(examples, block, threads):
    converter = Converter()
    found = convert(converter, examples=examples, block=block, threads=threads)
    check(found, examples)
    assert found.notes == [[first, min(first + block, examples)] for first in range(0, examples, block)]
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["x"][0] = 1
    check(convert(converter, examples=examples, block=block), examples)
    assert sorted(converter.blocks) == list(range(0, examples, block))


def test_the_arrays_are_mapped_and_begin_where_jax_can_share_them():
    for array in convert(Converter()).arrays.values():
        assert array.ctypes.data % 64 == 0
        assert isinstance(array.base, np.memmap)


def test_another_key_or_layout_is_another_store():
    converter = Converter()
    for key, examples in (("a", 25), ("b", 25), ("a", 26)):
        check(convert(converter, key, examples), examples)
    assert len(converter.blocks) == 21


def test_an_interrupted_conversion_continues(capsys):
    broken = Converter({16: DataError("file 16 is damaged")})
    with pytest.raises(DataError, match="file 16 is damaged"):
        convert(broken, threads=1)
    assert broken.blocks == [0, 4, 8, 12]
    rest = Converter()
    check(convert(rest, threads=1))
    assert rest.blocks == [16, 20, 24]
    assert "converting (25 examples, resumed at 16)" in capsys.readouterr().err


def test_a_killed_conversion_continues_to_the_same_arrays(tmp_path, _cache):
    script = """
        import os, sys, signal
        import numpy as np
        from dltrain.data import store, workers
        store.SAVED_EVERY = 0
        def convert(first, end):
            if first == 16:
                os.kill(os.getpid(), signal.SIGKILL)
            n = np.arange(first, end)
            return {"x": np.stack([n, n**2, -n], 1).astype(np.float32), "y": n}, [first, end]
        columns = {"x": store.Column((3,), "float32"), "y": store.Column((), "int32")}
        store.open_store({"key": "a"}, columns, 25, block=4, convert=convert, what="converting", threads=1)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=100)
    assert done.returncode == -9
    rest = Converter()
    check(convert(rest))
    assert sorted(rest.blocks) == [16, 20, 24]


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (DataError("row 3 is bad"), DataError, "row 3 is bad"),
        (OSError(28, "No space left on device"), DiskError, "No space left on device"),
        (ZeroDivisionError("oops"), WorkerError, "a thread died: ZeroDivisionError: oops"),
        (SystemExit(3), WorkerError, "a thread died: SystemExit: 3"),
    ],
)
def test_a_thread_that_fails_ends_the_conversion_with_its_reason(error, expected, message):
    with pytest.raises(expected, match=message):
        convert(Converter({8: error}))


def test_a_thread_that_hangs_ends_the_conversion(monkeypatch):
    monkeypatch.setattr(workers, "LONGEST", 0.2)
    gate = threading.Event()
    with pytest.raises(WorkerError, match=r"no thread has finished a block within 0\.2 s: reading hangs") as caught:
        convert(lambda first, end: gate.wait() and None, threads=1)
    assert caught.value.code == 9
    gate.set()


def test_a_damaged_store_is_converted_again(_cache):
    folder = convert(Converter()).folder
    (folder / "x.npy").write_bytes(b"damaged")
    again = Converter()
    check(convert(again))
    assert len(again.blocks) == 7


def test_the_longest_unused_store_is_removed_but_never_one_in_use(monkeypatch, _cache):
    used = convert(Converter(), "used")
    old, new = (convert(Converter(), key).folder for key in ("old", "new"))
    os.utime(used.folder, (1, 1))
    os.utime(old, (2, 2))
    taken = sum(file.stat().st_size for file in _cache.glob("*/*"))
    monkeypatch.setenv("DLTRAIN_CACHE_GIB", str(taken / 2**30))
    check(convert(Converter(), "next"))
    assert [folder.exists() for folder in (used.folder, old, new)] == [True, False, True]
    check(used)


def test_what_does_not_fit_is_refused_with_both_sizes(monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE_GIB", "1e-7")
    with pytest.raises(DiskError, match=r"more than the limit of .* GiB; raise DLTRAIN_CACHE_GIB"):
        convert(Converter())
    monkeypatch.setenv("DLTRAIN_CACHE_GIB", "1e8")
    huge = {"x": Column((1 << 40,), "float64")}
    with pytest.raises(DiskError, match=r"the converted data takes .* GiB are free; set DLTRAIN_CACHE=FOLDER"):
        open_store({}, huge, 1000, block=1, convert=Converter(), what="converting")


@pytest.mark.parametrize("value", ["many", "-1", "0", "nan"])
def test_the_limit_is_a_number(monkeypatch, value):
    monkeypatch.setenv("DLTRAIN_CACHE_GIB", value)
    with pytest.raises(ConfigError, match=f"DLTRAIN_CACHE_GIB={value}: expected the GiB"):
        convert(Converter())


def test_two_processes_convert_once(tmp_path):
    script = """
        import json, sys, time
        import numpy as np
        from dltrain.data import store, workers
        made = []
        def convert(first, end):
            made.append(first)
            time.sleep(0.05)
            return {"y": np.arange(first, end)}, None
        columns = {"y": store.Column((), "int32")}
        found = store.open_store({}, columns, 20, block=4, convert=convert, what="converting")
        print(json.dumps([len(made), found.arrays["y"].tolist()]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [json.loads(process.communicate(timeout=100)[0]) for process in both]
    assert [numbers for _, numbers in found] == [list(range(20))] * 2
    assert sum(made for made, _ in found) == 5


def test_a_cache_that_cannot_be_written_is_a_disk_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "file"))
    with pytest.raises(DiskError, match=r"cannot be written .* set DLTRAIN_CACHE=FOLDER") as caught:
        convert(Converter())
    assert caught.value.code == 6
    assert Path(tmp_path / "file").read_text() == ""
