"""Arrays in files: what they are follows from shapes and types, and what does not fit names the array."""

import io
import zipfile

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.sources.arrays import load_arrays
from dltrain.errors import ConfigError, DataError, MemoryExhausted
from dltrain.tasks.regression import Regression
from dltrain.types import Kind

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(6, 3))
PIXELS = RNG.integers(0, 256, (6, 4, 5), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(tmp_path, form, **arrays):
    """Save as an .npz file or as a folder of .npy files."""
    if form == "npz":
        np.savez(tmp_path / "x.npz", **arrays)
        return str(tmp_path / "x.npz")
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return str(tmp_path)


INPUTS = {
    "numbers": (TABLE, None, Kind.NUMBERS, TABLE),
    "numbers in float32": (np.float32(TABLE), None, Kind.NUMBERS, np.float32(TABLE)),
    "whole numbers": (
        np.arange(12).reshape(6, 2),
        None,
        Kind.NUMBERS,
        np.arange(12, dtype=np.float32).reshape(6, 2),
    ),
    "grey images": (PIXELS, None, Kind.IMAGE, PIXELS[..., None]),
    "colour images": (np.stack([PIXELS] * 3, 3), None, Kind.IMAGE, np.stack([PIXELS] * 3, 3)),
    "sequences": (RNG.normal(size=(6, 4, 5)), None, Kind.SEQUENCE, None),
    "grey images of floats": (np.float32(PIXELS), Kind.IMAGE, Kind.IMAGE, np.float32(PIXELS)[..., None]),
    "sequences of bytes": (PIXELS, Kind.SEQUENCE, Kind.SEQUENCE, np.float32(PIXELS)),
}


@pytest.mark.parametrize("form", ["npz", "npy"])
@pytest.mark.parametrize("case", INPUTS)
def test_shape_and_type_decide_what_the_inputs_are(tmp_path, case, form):
    inputs, kind, expected, values = INPUTS[case]
    source = load_arrays(saved(tmp_path, form, inputs=inputs, targets=LABELS), kind=kind)
    found = source.read(np.arange(6))
    check_examples(found, source.spec)
    assert source.spec.input.kind is expected
    np.testing.assert_array_equal(found["inputs"], inputs if values is None else values, strict=True)


TARGETS = {
    "classes": (LABELS, {}, "classification", ("0", "1", "2"), LABELS),
    "named classes": (
        LABELS,
        {"names": np.array(["a", "b", "c", "d"])},
        "classification",
        ("a", "b", "c", "d"),
        LABELS,
    ),
    "texts": (np.array(["b", "a", "c"] * 2), {}, "classification", ("a", "b", "c"), [1, 0, 2] * 2),
    "truth values": (LABELS > 0, {}, "classification", ("0", "1"), [0, 1, 1] * 2),
    "numbers": (LABELS + 0.5, {}, "regression", (), (LABELS + 0.5)[:, None]),
    "several numbers": (TABLE, {}, "regression", (), np.float32(TABLE)),
    "labels": (np.eye(3, dtype=int)[LABELS], {}, "multilabel", (), np.eye(3)[LABELS]),
}


@pytest.mark.parametrize("case", TARGETS)
def test_the_type_of_the_targets_decides_the_task(tmp_path, case):
    targets, others, task, classes, values = TARGETS[case]
    source = load_arrays(saved(tmp_path, "npz", inputs=TABLE, targets=targets, **others))
    assert (source.suggestion[0], source.spec.classes) == (task, classes)
    np.testing.assert_array_equal(source.read(np.arange(6))["targets"], np.array(values))


def test_whole_numbers_are_numbers_where_the_task_predicts_numbers(tmp_path):
    source = load_arrays(saved(tmp_path, "npz", inputs=TABLE, targets=LABELS), task=Regression())
    np.testing.assert_array_equal(source.read(np.arange(6))["targets"], np.float32(LABELS)[:, None], strict=True)


def test_weights_are_for_the_loss(tmp_path):
    source = load_arrays(saved(tmp_path, "npz", inputs=TABLE, targets=LABELS, weights=np.arange(6.0)))
    np.testing.assert_array_equal(source.read(np.arange(6))["weights"], np.arange(6, dtype=np.float32), strict=True)


def test_files_of_arrays_are_mapped_and_have_the_fingerprint_of_the_archive(tmp_path):
    arrays = {"inputs": np.float32(TABLE), "targets": LABELS.astype(np.int32)}
    (tmp_path / "folder").mkdir()
    mapped = load_arrays(saved(tmp_path / "folder", "npy", **arrays))
    held = mapped.arrays["inputs"]
    while not isinstance(held, np.memmap):
        held = held.base
    assert str(held.filename) == str(tmp_path / "folder/inputs.npy")
    assert mapped.fingerprint == load_arrays(saved(tmp_path, "npz", **arrays)).fingerprint


def test_a_changed_file_is_read_again(tmp_path):
    path = saved(tmp_path, "npz", inputs=TABLE, targets=LABELS)
    before = load_arrays(path).fingerprint
    assert load_arrays(path).fingerprint == before
    saved(tmp_path, "npz", inputs=TABLE + 1, targets=LABELS, weights=np.ones(6))
    assert load_arrays(path).fingerprint != before


FAULTS = {
    "no targets": ({"inputs": TABLE}, "has no array targets; found inputs"),
    "no inputs": ({"targets": LABELS}, "has no array inputs; found targets"),
    "another name": (
        {"inputs": TABLE, "targets": LABELS, "x": LABELS},
        "unknown array x; expected inputs, targets",
    ),
    "fewer targets": (
        {"inputs": TABLE, "targets": LABELS[:5]},
        "targets: expected 6 examples as in inputs, found 5",
    ),
    "a single number": (
        {"inputs": TABLE, "targets": np.array(3)},
        "targets: expected 6 examples as in inputs, found a",
    ),
    "no examples": ({"inputs": TABLE[:0], "targets": LABELS[:0]}, "inputs: has no examples"),
    "texts as inputs": (
        {"inputs": np.array([["a"]] * 6), "targets": LABELS},
        "inputs: expected numbers, found <U1",
    ),
    "one axis": ({"inputs": TABLE[:, 0], "targets": LABELS}, "inputs: found shape [6], expected [N, F] numbers"),
    "five axes": ({"inputs": np.zeros((6, 1, 1, 1, 1)), "targets": LABELS}, "inputs: found shape [6, 1, 1, 1, 1]"),
    "channels first": (
        {"inputs": np.zeros((6, 3, 8, 8), np.uint8), "targets": LABELS},
        "have 8 channels, expected 1, 3 or 4; move the channels to the end",
    ),
    "negative classes": (
        {"inputs": TABLE, "targets": LABELS - 1},
        "targets: that of example 0 is -1, expected 0..1",
    ),
    "too few names": (
        {"inputs": TABLE, "targets": LABELS, "names": np.array(["a", "b"])},
        "targets: that of example 2 is 2, expected 0..1",
    ),
    "numbers as names": ({"inputs": TABLE, "targets": LABELS, "names": LABELS[:3]}, "names: expected"),
    "a single class": ({"inputs": TABLE, "targets": np.array(["a"] * 6)}, "targets: has a single class, a"),
    "objects": ({"inputs": TABLE, "targets": np.array([None] * 6)}, "(Object arrays cannot be loaded"),
    "deep targets": ({"inputs": TABLE, "targets": np.zeros((6, 2, 2))}, "targets: found shape [6, 2, 2]"),
    "complex targets": ({"inputs": TABLE, "targets": LABELS * 1j}, "targets: expected numbers or texts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, fault):
    arrays, message = FAULTS[fault]
    with pytest.raises(DataError) as caught:
        load_arrays(saved(tmp_path, "npz", **arrays))
    assert message in str(caught.value)


def test_damaged_files_are_refused(tmp_path):
    np.savez(tmp_path / "good.npz", inputs=TABLE, targets=LABELS)
    good = (tmp_path / "good.npz").read_bytes()
    for data in (b"", b"hello", good[:100], good[: len(good) // 2]):
        (tmp_path / "bad.npz").write_bytes(data)
        for left in (None, 1 << 30):
            with pytest.raises(DataError, match=r"bad\.npz: is not a readable \.npz file"):
                load_arrays(str(tmp_path / "bad.npz"), memory_left=left)
    folder = tmp_path / "folder"
    folder.mkdir()
    saved(folder, "npy", inputs=TABLE, targets=LABELS)
    (folder / "inputs.npy").write_bytes((folder / "inputs.npy").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"inputs\.npy: is not a readable \.npy file"):
        load_arrays(str(folder))


def test_an_archive_that_does_not_fit_is_refused_from_its_headers(tmp_path, monkeypatch):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 3)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("inputs.npy", header.getvalue())
    with pytest.raises(DataError, match=r"inputs\.npy has 0 bytes, its header declares 26388279066624"):
        load_arrays(str(tmp_path / "bomb.npz"), memory_left=1 << 30)
    np.savez_compressed(tmp_path / "large.npz", inputs=np.zeros((1 << 20, 2)), targets=np.zeros(1 << 20))
    with pytest.raises(MemoryExhausted, match="its arrays take 24 MiB, and 1 MiB of memory are free; save them"):
        load_arrays(str(tmp_path / "large.npz"), memory_left=1 << 20)


def test_keys_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.path: missing"):
        load_arrays()
    with pytest.raises(ConfigError, match=r"data\.kind=tokens: expected numbers, image or sequence"):
        load_arrays("x.npz", kind=Kind.TOKENS)
