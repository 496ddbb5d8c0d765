"""A file is the old one or the new one, and an error of the disk names it."""

import json

import pytest

from dltrain.errors import DiskError
from dltrain.runs import files
from dltrain.runs.files import replace_json, replace_text, writing


def test_oserror_becomes_a_disk_error_with_file_and_reason(tmp_path):
    with pytest.raises(DiskError, match=r"cannot write .*results\.csv: No space left on device") as raised:
        with writing(tmp_path / "results.csv"):
            raise OSError(28, "No space left on device")
    assert raised.value.code == 6
    with pytest.raises(DiskError, match="Not a directory"):
        (tmp_path / "file").write_text("")
        replace_text(tmp_path / "file" / "inside", "text")


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    replace_text(path, "old")

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(DiskError):
        replace_text(path, "new")
    assert path.read_text() == "old"
    monkeypatch.undo()
    replace_text(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_json_has_null_for_nan_and_infinity(tmp_path):
    replace_json(tmp_path / "a.json", {"a": [1.5, float("nan")], "b": {"c": float("-inf")}, "d": (True, None, "x")})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "a": [1.5, None],
        "b": {"c": None},
        "d": [True, None, "x"],
    }
