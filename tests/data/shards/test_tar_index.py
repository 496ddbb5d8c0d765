"""Indexes of tar shards: exact, made once, and every damage is named."""

import os
import tarfile

import pytest
from tar_shards import examples, tar_bytes, write_shards

from dltrain.data.shards import tar_index
from dltrain.data.shards.members import Members
from dltrain.data.shards.names import local_shards
from dltrain.data.shards.tar_index import open_indexes
from dltrain.errors import DataError


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


def open_all(folder):
    return open_indexes(local_shards(str(folder), endings=[".tar"], key="data.path"))


def test_members_are_found_by_their_keys_whatever_their_order_and_form(tmp_path):
    long = "a/" + "very" * 40 + "/x"  # a name that takes a header of its own
    members = {
        "b/1.PNG": b"one",
        f"{long}.seg.png": b"three",
        "b/1.cls": b"7",
        "README": b"",
        ".x.png": b"",
        f"{long}.json": b"{}",
    }
    (tmp_path / "s.tar").write_bytes(tar_bytes(members))
    with tarfile.open(tmp_path / "s.tar", "a") as tar:
        folder = tarfile.TarInfo("b")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    (index,) = open_all(tmp_path)
    assert (index.keys, index.endings) == (("b/1", long), ("png", "cls", "seg.png", "json"))
    assert (index.sizes[0].tolist(), index.offsets[1, 0]) == ([3, 1, 0, 0], -1)
    assert index.labels == {"cls": ["7", None], "json": [None, "{}"]}
    assert Members([index]).read(0, int(index.offsets[1, 2]), 5) == b"three"


def test_an_index_is_made_once_and_again_when_the_shard_changes(tmp_path, monkeypatch):
    made, make = [], tar_index._make
    monkeypatch.setattr(tar_index, "_make", lambda shard: made.append(shard.file) or make(shard))
    paths = write_shards(tmp_path / "s")
    first, again = open_all(tmp_path / "s"), open_all(tmp_path / "s")
    assert sorted(made) == [path.name for path in paths]
    assert [(i.keys, i.digest, i.offsets.tolist(), i.labels) for i in first] == [
        (i.keys, i.digest, i.offsets.tolist(), i.labels) for i in again
    ]
    os.utime(paths[1], (1, 1))
    open_all(tmp_path / "s")
    assert made[3:] == [paths[1].name]


GOOD = tar_bytes(examples(0, 2))
FAULTS = {
    "cut in a member": (GOOD[: 512 + 100], "damaged or cut short"),
    "cut after a member": (GOOD[:1024], "cut short"),
    "no end": (GOOD.rstrip(b"\0")[:-1].ljust(4 * 1024, b"\0")[: 4 * 1024], "cut short"),
    "a damaged header": (GOOD[:1024] + b"\xff" * 512 + GOOD[1536:], "header is damaged; 1 members come before"),
    "no tar": (b"hello" * 1000, "is not a tar file"),
    "empty": (b"", "is not a tar file"),
    "gzip": (b"\x1f\x8b" + b"\0" * 600, r"compressed \(gzip\)"),
    "twice": (tar_bytes([("1.png", b""), ("1.png", b"")]), r"1\.png: two members"),
    "capitals": (tar_bytes([("1.png", b""), ("1.PNG", b"")]), r"1\.PNG: another member differs"),
    "no text": (tar_bytes({"1.cls": b"\xff\xfe"}), r"1\.cls: is not UTF-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_shard_is_named(tmp_path, fault):
    data, what = FAULTS[fault]
    write_shards(tmp_path / "s", 2)
    (tmp_path / "s/part-0001.tar").write_bytes(data)
    with pytest.raises(DataError, match=rf"part-0001\.tar: .*{what}"):
        open_all(tmp_path / "s")


def test_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match=r"a\.tar: 1\.png: is a link"):
        open_all(tmp_path)


def test_a_damaged_index_of_the_cache_is_made_again(tmp_path):
    write_shards(tmp_path / "s", 1)
    open_all(tmp_path / "s")
    (kept,) = (tmp_path / "cache/indexes").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert len(open_all(tmp_path / "s")[0]) == 4


@pytest.mark.parametrize(
    ("change", "what"), [("gone", "is gone"), ("cut", "was changed"), ("touched", "was changed")]
)
def test_a_shard_that_is_lost_while_a_run_reads_is_named(tmp_path, change, what):
    (path,) = write_shards(tmp_path / "s", 1)
    (index,) = open_all(tmp_path / "s")
    members = Members([index])
    {"gone": path.unlink, "cut": lambda: path.write_bytes(GOOD[:900]), "touched": lambda: os.utime(path, (1, 1))}[
        change
    ]()
    with pytest.raises(DataError, match=rf"part-0000\.tar: .*{what}"):
        members.read(0, 512, 10)


def test_a_shard_that_is_cut_while_it_is_open_is_named(tmp_path):
    (path,) = write_shards(tmp_path / "s", 1)
    members = Members(open_all(tmp_path / "s"))
    members.read(0, 512, 10)
    os.truncate(path, 600)
    with pytest.raises(DataError, match=r"part-0000\.tar: ends at byte 600"):
        members.read(0, 1024, 10)


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("dltrain.data.shards.members.MOST_OPEN", 2)
    indexes = open_all(write_shards(tmp_path / "s", 5)[0].parent)
    members, before = Members(indexes), len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        found = [members.read(i, int(index.offsets[0, 0]), 4) for i, index in enumerate(indexes)]
    assert found == [b"\x89PNG"] * 5
    assert len(os.listdir("/proc/self/fd")) <= before + 2
