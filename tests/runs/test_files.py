"""A file is the old one or the new one, and an error of the disk names it."""

import contextlib
import json
import os

import pytest

from dltrain.errors import DiskError
from dltrain.runs import files
from dltrain.runs.files import Files, replace_json, replace_text, writing


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


def append(folder, name):
    with folder.append(name) as file:
        file.write("new")


def change(folder, name):
    with folder.change(name) as file:
        file.write("new")


WRITES = {
    "replace": lambda folder, name: folder.replace(name, b"new"),
    "append": append,
    "change": change,
    "create": lambda folder, name: folder.create(name).close(),
    "make_new": lambda folder, name: (folder.make_new(name) / "file").write_text("new"),
    "remove": lambda folder, name: folder.remove(name),
    "remove_tree": lambda folder, name: folder.remove_tree(name),
    "remove_empty": lambda folder, name: folder.remove_empty(name),
    "rename": lambda folder, name: folder.rename(name, "other"),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("target", ["file", "folder", "none", "a hard link"])
@pytest.mark.parametrize("where", ["the name", "the folder", "a folder above"])
def test_nothing_is_written_through_a_link(tmp_path, write, target, where):
    outside, top = tmp_path / "outside", tmp_path / "top"
    (outside / "folder/inner").mkdir(parents=True)
    for name in ("file", "folder/name", "folder/inner/name"):
        (outside / name).write_text("old")
    before = {p: p.is_dir() or p.read_text() for p in outside.rglob("*")}
    parts = {"the name": ("in", "ner", "name"), "the folder": ("in", "ner"), "a folder above": ("in",)}[where]
    link = top.joinpath(*parts)
    link.parent.mkdir(parents=True)
    if target == "a hard link" and where == "the name":
        os.link(outside / "file", link)
    else:
        link.symlink_to(outside / target.replace("a hard link", "folder"))
    with contextlib.suppress(DiskError):
        WRITES[write](Files(top) / "in/ner", "name")
    assert {p: p.is_dir() or p.read_text() for p in outside.rglob("*")} == before


def test_a_file_that_is_opened_to_be_changed_must_be_a_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder"):
        for opened in (Files(tmp_path).append, Files(tmp_path).change):
            with pytest.raises(DiskError, match=name):
                opened(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_is_one_part_of_a_path(tmp_path, name):
    for write in ("replace", "append", "create", "remove_tree"):
        with pytest.raises(ValueError, match="is not the name of a file"):
            WRITES[write](Files(tmp_path), name)


def test_a_held_folder_is_found_when_it_is_renamed(tmp_path):
    folder = Files(tmp_path / "a")
    folder.make()
    folder.hold()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    (folder / "in").replace_text("file", "x")
    assert (
        folder.path == tmp_path / "b" and (tmp_path / "b/in/file").exists() and not list((tmp_path / "a").iterdir())
    )
    (tmp_path / "b/in").rename(tmp_path / "b/out")
    with pytest.raises(DiskError, match="b/in was renamed or moved while it was in use"):
        (folder / "in").replace_text("file", "y")
    (tmp_path / "b/out").rename(tmp_path / "b/in")
    (folder / "in").replace_text("file", "y")
    folder.remove_tree("in")
    (folder / "in").replace_text("file", "z")  # deleted, not renamed: made again
    folder.remove_tree("in")
    (tmp_path / "b").rmdir()
    with pytest.raises(DiskError, match="b was deleted, or moved to another disk"):
        (folder / "in").replace_text("file", "z")
    folder.let_go()


@pytest.mark.parametrize("linked", [True, False])
def test_a_file_is_copied_or_linked_and_never_through_a_link(tmp_path, linked, monkeypatch):
    source, files = tmp_path / "source", Files(tmp_path / "folder")
    source.write_text("content")
    files.copy_in("a", source, linked=linked)
    assert (files.path / "a").read_text() == "content" and source.stat().st_nlink == (2 if linked else 1)
    monkeypatch.setattr(os, "link", lambda *names, **how: (_ for _ in ()).throw(OSError("another file system")))
    files.copy_in("b", source, linked=linked)
    assert (files.path / "b").read_text() == "content" and (files.path / "b").stat().st_nlink == 1
    (tmp_path / "link").symlink_to(source)
    os.mkfifo(tmp_path / "fifo")
    for bad in (tmp_path / "link", tmp_path / "fifo", tmp_path):
        with pytest.raises(DiskError):
            files.copy_in("c", bad, linked=linked)
    with pytest.raises(DiskError):
        files.copy_in("a", source)  # it is there
