import gzip
import hashlib
import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml

from dltrain.data.check import check_examples
from dltrain.data.sources.idx import FILES, load_images, read_idx
from dltrain.errors import ConfigError, DataError
from dltrain.types import Kind

ROOT = Path(__file__).parents[3]
NAMES = ("train-images.gz", "train-labels.gz", "t10k-images.gz", "t10k-labels.gz")
DATA = Path(os.environ.get("DLTRAIN_DATA") or ROOT.parent / "shared" / "data")


def packed(array, kind=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 4, 3), np.uint8), rng.integers(0, 256, (2, 4, 3), np.uint8)
    return dict(zip(NAMES, (pictures[0], np.uint8([0, 2, 1, 1, 0]), pictures[1], np.uint8([1, 2])), strict=True))


@pytest.fixture
def folder(tmp_path, arrays):
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(gzip.compress(packed(array)))
    return tmp_path


def idx(folder, **options):
    files = {part: {"name": name, "sha256": "0" * 64} for part, name in zip(FILES, NAMES, strict=True)}
    return load_images(
        **{"name": "small", "classes": ("a", "b", "c"), "files": files, "root": str(folder), **options}
    )


def test_examples_are_train_then_test(folder, arrays):
    source = idx(folder)
    rows = source.read(np.arange(len(source)))
    check_examples(rows, source.spec)
    np.testing.assert_array_equal(rows["inputs"][:5, ..., 0], arrays["train-images.gz"])
    np.testing.assert_array_equal(rows["inputs"][5:, ..., 0], arrays["t10k-images.gz"])
    np.testing.assert_array_equal(rows["targets"], np.int32([0, 2, 1, 1, 0, 1, 2]), strict=True)
    np.testing.assert_array_equal(source.published["test"], [5, 6])
    assert (source.spec.input.shape, source.spec.input.kind) == ((4, 3, 1), Kind.IMAGE)


def test_decompressed_files_are_the_same_data(folder, arrays):
    before = idx(folder).fingerprint
    for name, array in arrays.items():
        (folder / name).unlink()
        (folder / name).with_suffix("").write_bytes(packed(array))
    assert idx(folder).fingerprint == before


def test_one_other_pixel_or_label_is_another_fingerprint(folder, arrays):
    prints = {idx(folder).fingerprint}
    for name in ("train-images.gz", "t10k-labels.gz"):
        array = arrays[name].copy()
        array.flat[0] ^= 1
        (folder / name).write_bytes(gzip.compress(packed(array)))
        prints.add(idx(folder).fingerprint)
    assert len(prints) == 3


IMAGES, LABELS = np.zeros((5, 4, 3), np.uint8), np.zeros(5, np.uint8)
BIG = np.zeros((5, 4, 4), np.uint8)
FAULTS = {
    "empty": ("train-images.gz", b"", "ends within the header: 0 bytes, expected 16"),
    "no gzip": ("train-images.gz", packed(IMAGES), "gzip data is damaged"),
    "header cut": (
        "train-labels.gz",
        gzip.compress(packed(LABELS)[:6]),
        "ends within the header: 6 bytes, expected 8",
    ),
    "no idx": (
        "train-images.gz",
        gzip.compress(b"PK\3\4" + bytes(60)),
        "is not an idx file: it starts with 50 4b 03 04",
    ),
    "floats": ("train-images.gz", gzip.compress(packed(IMAGES, kind=13)), "type 0x0d on 3 axes, expected 0x08"),
    "labels as images": ("train-images.gz", gzip.compress(packed(LABELS) + bytes(20)), "on 1 axes, .* on 3"),
    "images as labels": ("t10k-labels.gz", gzip.compress(packed(IMAGES)), "on 3 axes, .* on 1"),
    "content cut": ("train-images.gz", gzip.compress(packed(IMAGES)[:-13]), "47 bytes follow the header, .* 60"),
    "content too long": ("train-images.gz", gzip.compress(packed(IMAGES) + b"x"), "more than the 60 bytes"),
    "gzip cut": (
        "train-images.gz",
        gzip.compress(packed(IMAGES))[:-8],
        "ends early: 60 of 60 bytes decompressed, record 5 of 5 is incomplete",
    ),
    "rubbish behind": ("train-images.gz", gzip.compress(packed(IMAGES)) + b"x", "data after the end"),
    "no images": ("train-images.gz", gzip.compress(packed(IMAGES[:0])), "0 x 4 x 3 elements, expected 1 to"),
    "huge sizes": (
        "train-images.gz",
        gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)),
        "expected 1 to 4294967296",
    ),
    "large sizes in a small file": (
        "train-images.gz",
        gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 60000, 28, 28)),
        "compressed bytes cannot hold the 47040000 that the header declares",
    ),
    "fewer images": (
        "train-images.gz",
        gzip.compress(packed(IMAGES[:4])),
        "4 images, but train-labels.gz has 5",
    ),
    "other size in test": ("t10k-images.gz", gzip.compress(packed(BIG[:2])), "images of 4 x 4, but .* has 4 x 3"),
    "label out of range": (
        "train-labels.gz",
        gzip.compress(packed(np.uint8([0, 1, 2, 3, 200]))),
        r"label of example 3 is 3, expected 0\.\.2 \(3 classes\); 2 of 5 labels",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_file(folder, fault):
    name, content, message = FAULTS[fault]
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        idx(folder)
    assert str(caught.value).startswith(str(folder / name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends within the header"),
        (packed(IMAGES)[:-1], "59 bytes follow the header, which declares 60"),
        (packed(IMAGES) + b"x", "61 bytes follow"),
    ],
    ids=["empty", "too short", "too long"],
)
def test_fault_in_a_decompressed_file_is_named(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, axes=3)
    assert str(caught.value).startswith(str(path))


def test_no_truncated_file_is_read(tmp_path, arrays, count):
    path, whole = tmp_path / "images.gz", gzip.compress(packed(arrays["train-images.gz"]))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        count.tried += 1
        with pytest.raises(DataError, match=r"images\.gz"):
            read_idx(path, axes=3)
        count.survived += 1


def test_no_flipped_bit_is_read_as_other_data(tmp_path, arrays, count):
    path, whole = tmp_path / "images.gz", gzip.compress(packed(arrays["train-images.gz"]))
    refused = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        count.tried += 1
        try:
            np.testing.assert_array_equal(read_idx(path, axes=3), arrays["train-images.gz"])
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
        count.survived += 1
    # All but the time, the flags and the system's name in gzip's own header, which no checksum covers.
    assert refused >= 8 * (len(whole) - 7)


def test_bomb_is_refused_in_bounded_memory(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(packed(IMAGES) + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="more than the 60 bytes"):
        read_idx(path, axes=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_several_chunks_are_joined(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (7, 300, 400), np.uint8)  # 840 KB that do not pack
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(packed(noise)))
    np.testing.assert_array_equal(read_idx(path, axes=3), noise)


def test_wrong_root_is_named(tmp_path, folder):
    with pytest.raises(
        DataError, match=r"nowhere \(data.root\): is not a folder; .* train-images.gz, train-labels.gz"
    ):
        idx(tmp_path / "nowhere")
    (folder / "t10k-labels.gz").unlink()
    with pytest.raises(DataError, match=r"\(data.root\): lacks t10k-labels.gz \(or the same without .gz\)"):
        idx(folder)


def test_files_are_looked_for_in_dltrain_data(folder, tmp_path_factory, monkeypatch):
    parent = tmp_path_factory.mktemp("data")
    shutil.copytree(folder, parent / "small")
    monkeypatch.setenv("DLTRAIN_DATA", str(parent))
    assert idx(folder, root=None).fingerprint == idx(folder).fingerprint
    (parent / "small" / NAMES[0]).unlink()
    with pytest.raises(DataError, match=r"\(\$DLTRAIN_DATA\): lacks train-images.gz"):
        idx(folder, root=None)


def test_without_folder_the_cache_is_used(folder, tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(folder, cache / "small")
    monkeypatch.setenv("DLTRAIN_CACHE", str(cache))
    monkeypatch.delenv("DLTRAIN_DATA", raising=False)
    sums = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES]
    files = {part: {"name": name, "sha256": total} for part, name, total in zip(FILES, NAMES, sums, strict=True)}
    assert idx(folder, root=None, files=files).fingerprint == idx(folder).fingerprint


def test_config_mistakes_are_named(folder):
    with pytest.raises(ConfigError, match=r"data\.files\.train_labels: must give name and sha256"):
        idx(folder, files={"train_images": {"name": NAMES[0], "sha256": "0"}})


PUBLISHED = {  # counts and first labels of the published files; mean and deviation of torchvision's examples
    "mnist": ([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], [5, 0, 4, 1, 9], 0.1307, 0.3081),
    "fashion_mnist": ([6000] * 10, [9, 0, 0, 3, 0], 0.2860, 0.3530),
}


@pytest.mark.parametrize("choice", PUBLISHED)
def test_published_files_are_read_completely(choice):
    node = yaml.safe_load((ROOT / "configs" / "data" / f"{choice}.yaml").read_text())
    root = DATA / node["name"]
    if not root.is_dir():
        pytest.skip(f"the published files are not in {root}; set DLTRAIN_DATA")
    for file in node["files"].values():
        assert hashlib.sha256((root / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    del node["_target_"], node["task"]
    source = load_images(**{**node, "root": str(root)})
    rows = source.read(np.arange(len(source)))
    check_examples(rows, source.spec)
    counts, first, mean, deviation = PUBLISHED[choice]
    assert len(source) == 70_000
    np.testing.assert_array_equal(source.published["test"], np.arange(60_000, 70_000))
    np.testing.assert_array_equal(np.bincount(rows["targets"][:60_000]), counts)
    np.testing.assert_array_equal(rows["targets"][:5], first)
    train = rows["inputs"][:60_000]
    assert train.shape == (60_000, 28, 28, 1)
    assert train.mean() / 255 == pytest.approx(mean, abs=5e-5)
    histogram = np.bincount(train.reshape(-1), minlength=256)
    squares = histogram @ np.arange(256.0) ** 2 / train.size
    assert np.sqrt(squares - train.mean() ** 2) / 255 == pytest.approx(deviation, abs=5e-5)
