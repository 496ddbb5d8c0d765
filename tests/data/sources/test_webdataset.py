"""Tar shards of images: the examples of a folder of images, from disk or an object store; faults are named."""

import json
import threading

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from tar_shards import examples, tar_bytes, write_folder, write_shards
from tiny_images import encoded, pixels

from dltrain.data.shards import remote
from dltrain.data.shards.names import Shard
from dltrain.data.sources.images import load_images
from dltrain.data.sources.webdataset import load_webdataset
from dltrain.errors import ConfigError, DataError, DiskError, WorkerError
from dltrain.tasks.regression import Regression

PNG = encoded(pixels(seed=0))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["once", "always"])
def decode(request):
    return request.param


def load(path, **options):
    return load_webdataset(str(path), **{"size": 8, **options})


def check_equal(found, expected):
    order = np.argsort([expected.where(i).rpartition("/")[2] for i in range(len(expected))])  # by class there
    one, other = found.read(np.arange(len(found))), expected.read(order)
    np.testing.assert_array_equal(one["inputs"], other["inputs"], strict=True)
    np.testing.assert_array_equal(one["targets"], other["targets"], strict=True)
    assert found.spec == expected.spec


def test_the_examples_are_those_of_a_folder_of_images(tmp_path, decode):
    write_shards(tmp_path / "s", 3, 4)
    write_folder(tmp_path / "photos", 12)
    found, expected = load(tmp_path / "s", decode=decode), load_images(str(tmp_path / "photos"), size=8)
    check_equal(found, expected)
    assert found.where(5) == "part-0001.tar, 000005.png"
    mixed = np.array([7, 0, 11, 0, 3])
    np.testing.assert_array_equal(found.read(mixed)["inputs"], found.read(np.arange(12))["inputs"][mixed])
    assert found.suggestion == ("classification", "txt names 2 classes")


def test_both_ways_of_decoding_have_one_fingerprint_that_names_do_not_change(tmp_path):
    for name in ("s", "t"):
        write_shards(tmp_path / name, 2)
    found = {load(tmp_path / name, decode=way).fingerprint for name in "st" for way in ("once", "always")}
    assert len(found) == 1
    (tmp_path / "t/part-0001.tar").write_bytes(tar_bytes(examples(5, 4)))
    assert load(tmp_path / "t").fingerprint not in found
    assert load(tmp_path / "s", size=9).fingerprint not in found


def test_shards_of_splits_are_published_splits(tmp_path, decode):
    for first, name in ((0, "train"), (4, "val"), (8, "test")):
        (tmp_path / f"{name}-0.tar").write_bytes(tar_bytes(examples(first, 4)))
    named = load(tmp_path, decode=decode)
    paths = {"validation_path": "val-{0..0}.tar", "test_path": "test-*.tar", "root": str(tmp_path)}
    typed = load_webdataset("train-0.tar", size=8, decode=decode, **paths)
    for source in (named, typed):
        inputs = source.read(np.sort(np.concatenate(list(source.published.values()))))["inputs"]
        np.testing.assert_array_equal(
            inputs, np.stack([pixels(seed=i) for i in range(4, 12)])[[*range(8)]] if source is typed else inputs
        )
        for first, split in ((4, "validation"), (8, "test")):
            found = source.read(source.published[split])["inputs"]
            np.testing.assert_array_equal(found, np.stack([pixels(seed=i) for i in range(first, first + 4)]))
    with pytest.raises(DataError, match=r"train-0\.tar: this shard is named twice"):
        load(tmp_path, test_path=str(tmp_path / "train-0.tar"))


def labelled(path, *labels, ending="cls"):
    members = {}
    for i, label in enumerate(labels):
        members |= {f"{i}.png": encoded(pixels(seed=i)), f"{i}.{ending}": str(label).encode()}
    path.write_bytes(tar_bytes(members))
    return path


KINDS = {
    "numbers of classes": (("cls", [0, 2]), {}, "classification", ("0", "1", "2"), [0, 2]),
    "their names": (("cls", [0, 2]), {"classes": ["a", "b", "c"]}, "classification", ("a", "b", "c"), [0, 2]),
    "texts": (("txt", ["b ", "a"]), {}, "classification", ("a", "b"), [1, 0]),
    "texts in an order": (("txt", ["b", "a"]), {"classes": ["b", "a"]}, "classification", ("b", "a"), [0, 1]),
    "a key": (
        ("json", ['{"x": {"y": "b"}}', '{"x": {"y": "a"}}']),
        {"target": "json.x.y"},
        "classification",
        ("a", "b"),
        [1, 0],
    ),
    "few whole numbers": (
        ("json", ['{"x": 5}', '{"x": 3}']),
        {"target": "json.x"},
        "classification",
        ("3", "5"),
        [1, 0],
    ),
    "floats": (("json", ['{"x": 5.5}', '{"x": 3}']), {"target": "json.x"}, "regression", (), [[5.5], [3]]),
    "a regression": (("cls", [5, 3]), {"task": Regression()}, "regression", (), [[5], [3]]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_become_targets(tmp_path, kind):
    (ending, labels), options, task, classes, expected = KINDS[kind]
    source = load(labelled(tmp_path / "a.tar", *labels, ending=ending), **options)
    assert (source.suggestion[0], source.spec.classes) == (task, classes)
    dtype = np.int32 if task == "classification" else np.float32
    np.testing.assert_array_equal(source.read(np.arange(2))["targets"], np.array(expected, dtype), strict=True)


FAULTS = {
    "no label": ([("1.png", PNG), ("2.png", PNG), ("2.cls", b"0")], {}, r"a\.tar, 1: the member \.cls is missing"),
    "no image": (
        [("1.png", PNG), ("1.cls", b"0"), ("2.cls", b"1")],
        {},
        r"a\.tar, 2: the example has no image, only cls",
    ),
    "no label at all": ([("1.png", PNG)], {}, r"a\.tar: the examples have no label"),
    "two images": (
        [("1.png", PNG), ("1.seg.png", PNG), ("1.cls", b"0")],
        {},
        r"a\.tar, 1: has several images.*data\.image=png",
    ),
    "a word": ([("1.png", PNG), ("1.cls", b"cat")], {}, r"a\.tar, 1: \.cls is 'cat', expected a whole number"),
    "negative": (
        [("1.png", PNG), ("1.cls", b"-1"), ("2.png", PNG), ("2.cls", b"1")],
        {},
        r"a\.tar, 1: cls is -1, an unknown class",
    ),
    "unknown": (
        [("1.png", PNG), ("1.cls", b"2")],
        {"classes": ["a", "b"]},
        r"a\.tar, 1: cls is 2, an unknown class; data\.classes has 0 to 1",
    ),
    "one class": ([("1.png", PNG), ("1.cls", b"0")], {}, r"a\.tar, 1: cls has a single class"),
    "no key": (
        [("1.png", PNG), ("1.json", b'{"y": 1}')],
        {"target": "json.x"},
        r"a\.tar, 1: \.json has no key x; found y",
    ),
    "no JSON": ([("1.png", PNG), ("1.json", b"{")], {"target": "json.x"}, r"a\.tar, 1: \.json is not JSON"),
    "two kinds": (
        [("1.png", PNG), ("1.json", b'{"x": "a"}'), ("2.png", PNG), ("2.json", b'{"x": 1.5}')],
        {"target": "json.x"},
        r"a\.tar, 2: json\.x is 1\.5, but that of .*a\.tar, 1 is 'a'",
    ),
    "no examples": ([("README", b"")], {}, r"a\.tar: has no examples"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_shard_and_key(tmp_path, fault):
    members, options, what = FAULTS[fault]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    with pytest.raises(DataError, match=what):
        load(tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, r"data\.target=json\.KEY names a key of the \.json members: x"),
        ({"target": "json"}, r"data\.target=json: expected cls, txt or json\.KEY"),
        ({"target": "json.x", "decode": "always", "on_bad": "skip"}, r"data\.on_bad=skip: needs data\.decode=once"),
        ({"target": "json.x", "classes": ["a", "a"]}, r"data\.classes: a is there twice"),
        ({"target": "json.x", "classes": "lost.txt"}, r"data\.classes=lost\.txt: the file cannot be read"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, options, what):
    labelled(tmp_path / "a.tar", '{"x": "a"}', '{"x": "b"}', ending="json")
    with pytest.raises(ConfigError, match=what):
        load(tmp_path, **options)


def test_a_class_of_the_test_shards_alone_is_unknown(tmp_path):
    labelled(tmp_path / "train-0.tar", 0, 1)
    labelled(tmp_path / "test-0.tar", 0, 2)
    with pytest.raises(
        DataError, match=r"test-0\.tar, 1: cls is 2, an unknown class; the training examples have 0 to 1"
    ):
        load(tmp_path)


def test_a_damaged_image_is_named_or_left_out(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes({**examples(0, 3), "9.png": PNG[:60], "9.txt": b"cat"}))
    with pytest.raises(DataError, match=rf"{tmp_path}/a\.tar, 9\.png: is damaged"):
        load(tmp_path, decode="once")
    with pytest.raises(DataError, match=r"a\.tar, 9\.png: is damaged"):
        load(tmp_path, decode="always").read(np.arange(4))
    assert len(load(tmp_path, on_bad="skip", most_bad=0.5)) == 3


def test_images_are_decoded_once_only_if_the_cache_has_room(tmp_path, monkeypatch):
    write_shards(tmp_path / "s")
    monkeypatch.setenv("DLTRAIN_CACHE_GIB", str(4 * 12 * 8 * 8 * 3 / 2**30))
    assert not hasattr(load(tmp_path / "s"), "reading")
    assert hasattr(load(tmp_path / "s", size=9), "reading")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """Shards in an object store that is in memory."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    system = fsspec.filesystem("memory")
    for path in write_shards(tmp_path / "s"):
        system.pipe(f"/bucket/{path.name}", path.read_bytes())
    return system


@pytest.mark.parametrize(
    "path", ["memory://bucket", "memory://bucket/part-*.tar", "memory://bucket/part-{0000..0002}.tar"]
)
def test_shards_of_an_object_store_are_copied_once(tmp_path, monkeypatch, bucket, path):
    opened, open_ = [], MemoryFileSystem.open
    monkeypatch.setattr(
        MemoryFileSystem, "open", lambda self, path, *a, **o: opened.append(path) or open_(self, path, *a, **o)
    )
    for _ in range(2):
        source = load(path, decode="always")
        np.testing.assert_array_equal(
            source.read(np.arange(12))["inputs"], load(tmp_path / "s").read(np.arange(12))["inputs"]
        )
    assert sorted(opened) == [f"/bucket/part-000{i}.tar" for i in range(3)]
    assert source.where(5) == "part-0001.tar, 000005.png"
    kept = sorted(p.name for p in (tmp_path / "cache/shards").glob("*/*"))
    assert [name[:9] for name in kept] == ["part-0000", "part-0001", "part-0002"]


def test_processes_and_threads_of_a_host_copy_once(monkeypatch, bucket):
    opened, open_ = [], MemoryFileSystem.open
    monkeypatch.setattr(
        MemoryFileSystem, "open", lambda self, path, *a, **o: opened.append(path) or open_(self, path, *a, **o)
    )
    found = []
    threads = [threading.Thread(target=lambda: found.append(load("memory://bucket").fingerprint)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found)), len(opened)) == (3, 1, 3)


def test_a_shard_that_changes_in_the_store_is_copied_again(tmp_path, bucket):
    before = load("memory://bucket").fingerprint
    bucket.pipe("/bucket/part-0001.tar", tar_bytes(examples(20, 4)))
    assert load("memory://bucket").fingerprint != before
    assert len(list((tmp_path / "cache/shards").glob("*/*.tar"))) == 3  # the old copy is removed


def test_the_longest_unused_copies_make_room_but_none_in_use(tmp_path, monkeypatch, bucket):
    size = sum(info["size"] for info in bucket.ls("/bucket", detail=True))
    for name in ("b", "c"):
        bucket.copy("/bucket", f"/{name}", recursive=True)
    monkeypatch.setenv("DLTRAIN_CACHE_GIB", str(1.5 * size / 2**30))
    used = [load("memory://bucket", decode="always")]
    with pytest.raises(DiskError, match=r"the shards need .* with those in use"):
        load("memory://b", decode="always")
    used.clear()
    load("memory://b", decode="always")
    assert len(list((tmp_path / "cache/shards").glob("*/*.tar"))) == 3


class Faulty(LocalFileSystem):
    """A file system whose shards are lost, cut short or slow."""

    protocol = "faulty"
    fault, gate = "", threading.Event()

    @classmethod
    def _strip_protocol(cls, path, **options):
        return super()._strip_protocol(str(path).removeprefix("faulty://"))

    def open(self, path, mode="rb", **options):
        if path.endswith("0001.tar"):
            if self.fault == "lost":
                raise FileNotFoundError(path)
            if self.fault == "refused":
                raise PermissionError("Access Denied")
            if self.fault == "slow":
                self.gate.wait()
            if self.fault == "cut":
                file = super().open(path, mode)
                file.read(600)
                return file
        return super().open(path, mode)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    monkeypatch.setattr(Faulty, "gate", threading.Event())
    write_shards(tmp_path / "s")
    yield f"faulty://{tmp_path}/s"
    Faulty.gate.set()


@pytest.mark.parametrize(
    ("fault", "error", "what"),
    [
        ("lost", DataError, "does not exist; a shard is lost"),
        ("refused", DataError, r"cannot be read \(Access Denied\)"),
        ("cut", DataError, "is cut short, or was changed: .* bytes came, expected"),
        ("slow", WorkerError, r"no byte of this shard came for 1 s \(data\.timeout\)"),
    ],
)
def test_a_lost_a_cut_and_a_slow_shard_are_named_and_leave_nothing(
    tmp_path, monkeypatch, faulty, fault, error, what
):
    monkeypatch.setattr(Faulty, "fault", fault)
    with pytest.raises(error, match=rf"part-0001\.tar \(data\.path\): {what}"):
        load(faulty, timeout=1.0 if fault == "slow" else 60.0)
    assert not list((tmp_path / "cache/shards").glob("*/part-0001-*.tar"))
    monkeypatch.setattr(Faulty, "fault", "")
    assert len(load(faulty)) == 12


def test_a_broken_connection_is_tried_again(monkeypatch, faulty):
    opened, open_ = [], Faulty.open

    def breaks(self, path, mode="rb", **options):
        opened.append(path)
        if len(opened) <= 2:
            raise ConnectionError("reset")
        return open_(self, path, mode)

    monkeypatch.setattr(Faulty, "open", breaks)
    assert len(load(f"{faulty}/part-0000.tar")) == 4
    assert len(opened) == 3


@pytest.mark.parametrize(
    ("url", "error", "what"),
    [
        ("memory://bucket/part-{0000..0003}.tar", DataError, r"part-0003\.tar \(data\.path\): does not exist"),
        ("memory://bucket/other-*.tar", DataError, "no file fits this pattern"),
        ("nope://bucket/a.tar", ConfigError, r"data\.path=nope://bucket/a\.tar: cannot be opened"),
        ("s3://bucket/a.tar", ConfigError, r"the package for this kind of address is missing; pip install s3fs"),
    ],
)
def test_an_address_that_cannot_be_read_is_named(monkeypatch, bucket, url, error, what):
    if url.startswith("s3"):
        monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(error, match=what):
        load(url)


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(
        ConfigError, match=r"data\.path=s3://b/a\.tar: needs the package fsspec; pip install 'dltrain\[remote\]'"
    ):
        load("s3://b/a.tar")


def test_stamps_do_not_depend_on_how_a_file_is_asked_for(bucket):
    (listed, *_), told = bucket.ls("/bucket", detail=True), bucket.info("/bucket/part-0000.tar")
    assert remote.stamp_of(listed) == remote.stamp_of(told) != ""
    assert remote.stamp_of({"ETag": "x", "LastModified": 1}) == "x"
    assert Shard("s3://a/b/c.tar", 1, "").file == "c.tar"


def test_json_of_the_description_names_each_shard(tmp_path):
    paths = write_shards(tmp_path / "s", 2)
    files = load(tmp_path / "s", decode="always").describe(np.arange(1)).files
    assert json.loads(json.dumps(files)).keys() == {path.name for path in paths}
    assert [size for size, _ in files.values()] == [path.stat().st_size for path in paths]
