"""CIFAR-10's binary files: the order of the pixels, packed or not, whole or in part, and every kind of damage."""

import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from dltrain.composition.compose import compose_words
from dltrain.data.check import check_examples
from dltrain.data.sources import cifar
from dltrain.data.sources.cifar import RECORD, Labels, load_cifar10, load_cifar100
from dltrain.errors import DataError
from dltrain.types import Kind

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("DLTRAIN_DATA") or ROOT.parent / "shared" / "data")
CLASSES = tuple("abcdefghij")


def batch(labels, seed=0) -> bytes:
    """Records of these labels with random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), RECORD - 1), np.uint8)
    return np.concatenate([np.uint8(labels)[:, None], pixels], 1).tobytes()


@pytest.fixture
def folder(tmp_path):
    """Two training batches of three records and a test batch of two."""
    for number, (name, labels) in enumerate(
        {"data_batch_1": [0, 9, 3], "data_batch_4": [1, 1, 2], "test_batch": [5, 6]}.items()
    ):
        (tmp_path / f"{name}.bin").write_bytes(batch(labels, number))
    return tmp_path


def load(folder):
    return load_cifar10(name="cifar-10", classes=CLASSES, root=str(folder))


def test_examples_are_the_training_batches_that_are_there_then_the_test_batch(folder, capsys):
    source = load(folder)
    rows = source.read(np.arange(len(source)))
    check_examples(rows, source.spec)
    np.testing.assert_array_equal(rows["targets"], np.int32([0, 9, 3, 1, 1, 2, 5, 6]), strict=True)
    np.testing.assert_array_equal(source.published["test"], [6, 7])
    assert (source.spec.input.kind, source.spec.input.shape) == (Kind.IMAGE, (32, 32, 3))
    err = capsys.readouterr().err
    assert "trains on 2 of 5 training batches (6 examples)" in err
    assert "lacks data_batch_2.bin, data_batch_3.bin, data_batch_5.bin" in err


def test_a_whole_data_set_is_read_without_a_word(folder, capsys):
    for number in (2, 3, 5):
        (folder / f"data_batch_{number}.bin").write_bytes(batch([number]))
    assert load(folder).read(np.arange(11))["targets"].tolist() == [0, 9, 3, 2, 3, 1, 1, 2, 5, 5, 6]
    assert capsys.readouterr().err == ""


def test_pixels_are_three_planes_of_rows(folder):
    planes = np.arange(3 * 32 * 32).reshape(3, 32, 32) % 251
    (folder / "test_batch.bin").write_bytes(bytes([7]) + np.uint8(planes).tobytes())
    image = load(folder).read(np.array([6]))["inputs"][0]
    for channel, row, column in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 5, 6), (2, 31, 31)):
        assert image[row, column, channel] == planes[channel, row, column]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("place", ["", "cifar-10-batches-bin"])
def test_packed_files_and_the_published_folder_are_the_same_data(folder, tmp_path_factory, pack, place):
    other = tmp_path_factory.mktemp("packed")
    (other / place).mkdir(exist_ok=True)
    suffix = ".gz" if pack is gzip.compress else ".xz"
    for path in folder.iterdir():
        (other / place / f"{path.name}{suffix}").write_bytes(pack(path.read_bytes()))
    assert load(other).fingerprint == load(folder).fingerprint


WHOLE = batch([0, 1, 2])
FAULTS = {
    "empty": ("data_batch_1.bin", b"", "0 bytes, which is not a number of whole records of 3073 bytes"),
    "a byte too few": ("data_batch_1.bin", WHOLE[:-1], "9218 bytes, which is not a number of whole records"),
    "a byte too many": ("test_batch.bin", WHOLE + b"x", "9220 bytes, which is not"),
    "label 10": ("data_batch_4.bin", batch([0, 10]), "data_batch_4.bin: .*10"),
    "no gzip": ("data_batch_2.bin.gz", WHOLE, "packed data is damaged"),
    "no xz": ("data_batch_2.bin.xz", WHOLE, "packed data is damaged"),
    "gzip cut": ("data_batch_2.bin.gz", gzip.compress(WHOLE)[:-9], "ends early, after 92"),
    "xz cut": ("data_batch_2.bin.xz", lzma.compress(WHOLE)[:-40], "ends early, after"),
    "rubbish behind": ("data_batch_2.bin.xz", lzma.compress(WHOLE) + b"xx", "data after the end"),
    "a bit in the gzip": (
        "data_batch_2.bin.gz",
        (lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:])(gzip.compress(WHOLE)),
        "packed data is damaged|which is not a number",
    ),
    "a folder": ("data_batch_1.bin", None, "lacks test_batch.bin"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_named_with_what_is_wrong(folder, fault):
    name, content, message = FAULTS[fault]
    if content is None:
        (folder / "test_batch.bin").unlink()
        (folder / "test_batch.bin").mkdir()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_file_that_unpacks_to_more_than_all_of_cifar_is_refused(folder, monkeypatch, pack):
    monkeypatch.setattr(cifar, "MOST", 10 * RECORD)
    suffix = ".gz" if pack is gzip.compress else ".xz"
    (folder / f"data_batch_3.bin{suffix}").write_bytes(pack(bytes(3000 * RECORD)))
    with pytest.raises(DataError, match="holds more than"):
        load(folder)


def test_missing_batches_and_folders_are_named(folder, monkeypatch):
    for name in ("data_batch_1.bin", "data_batch_4.bin"):
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"\(data.root\): lacks data_batch_1.bin \(or another"):
        load(folder)
    with pytest.raises(DataError, match=r"nowhere \(data.root\): is not a folder"):
        load(folder / "nowhere")
    monkeypatch.setenv("DLTRAIN_DATA", str(folder))
    with pytest.raises(DataError, match=r"cifar-10 \(\$DLTRAIN_DATA\): is not a folder"):
        load_cifar10(name="cifar-10", classes=CLASSES)
    monkeypatch.delenv("DLTRAIN_DATA")
    with pytest.raises(DataError, match=r"data.root: cifar-10 is not downloaded; .*DLTRAIN_DATA"):
        load_cifar10(name="cifar-10", classes=CLASSES)


@pytest.mark.parametrize("model", ["resnet18", "resnet20", "resnet32", "resnet56"])
def test_the_models_that_are_made_for_it_compose_with_it(model):
    words = ("data=cifar10", f"model={model}", "augment=[flip_horizontal,random_crop]")
    composed = compose_words(*words, "optim=momentum", "schedule=cosine")
    assert composed.config["task"]["_target_"].endswith("Classification")
    assert composed.config["data"]["name"] == "cifar-10" and len(composed.config["data"]["classes"]) == 10


@pytest.mark.skipif(not (DATA / "cifar-10").is_dir(), reason="CIFAR-10 is not there; set DLTRAIN_DATA")
@pytest.mark.slow
def test_the_published_files_have_ten_thousand_images_of_ten_balanced_classes(monkeypatch, capsys):
    node = yaml.safe_load((ROOT / "configs" / "data" / "cifar10.yaml").read_text())
    monkeypatch.setenv("DLTRAIN_DATA", str(DATA))
    source = load_cifar10(name=node["name"], classes=node["classes"])
    targets = source.arrays["targets"]
    assert np.bincount(targets[source.published["test"]]).tolist() == [1000] * 10
    assert targets[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # a frog, two trucks, a deer, ...


def hundred(labels, seed=0) -> bytes:
    """Records of CIFAR-100: coarse and fine label, then random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), RECORD - 1), np.uint8)
    return np.concatenate([np.uint8(labels), pixels], 1).tobytes()


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
@pytest.mark.parametrize(("labels", "expected"), [(Labels.FINE, [99, 0, 7]), (Labels.COARSE, [19, 1, 4])])
def test_cifar_100_has_fine_and_coarse_labels(tmp_path, labels, expected, packed):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[packed]
    (tmp_path / "cifar-100-binary").mkdir()
    train, test = hundred([(19, 99), (1, 0)]), hundred([(4, 7)], seed=1)
    (tmp_path / f"cifar-100-binary/train.bin{packed}").write_bytes(pack(train))
    (tmp_path / f"cifar-100-binary/test.bin{packed}").write_bytes(pack(test))
    node = yaml.safe_load((ROOT / "configs/data/cifar100.yaml").read_text())
    names = {key: tuple(node[key]) for key in ("classes", "superclasses")}
    source = load_cifar100(name="cifar-100", root=str(tmp_path), labels=labels, **names)
    found = source.read(np.arange(3))
    check_examples(found, source.spec)
    assert found["targets"].tolist() == expected
    assert source.spec.classes == names["classes" if labels is Labels.FINE else "superclasses"]
    assert source.published["test"].tolist() == [2]
    planes = np.frombuffer(test, np.uint8)[2:].reshape(3, 32, 32)
    np.testing.assert_array_equal(found["inputs"][2], planes.transpose(1, 2, 0))


def test_cifar_100_names_what_is_missing_or_cut(tmp_path):
    options = {"name": "cifar-100", "classes": CLASSES, "superclasses": CLASSES, "root": str(tmp_path)}
    with pytest.raises(DataError, match=r"lacks train\.bin"):
        load_cifar100(**options)
    (tmp_path / "train.bin").write_bytes(hundred([(1, 2)])[:-1])
    (tmp_path / "test.bin").write_bytes(hundred([(1, 2)]))
    with pytest.raises(DataError, match="records of 3074 bytes \\(2 labels and 32 x 32 x 3 pixels"):
        load_cifar100(**options)
