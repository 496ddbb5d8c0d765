"""An npz file of sequences is read unchanged, and messages name each possible mistake in it."""

import io
import pickle
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from dltrain.data.sources.sequences import load_sequences
from dltrain.devices import memory
from dltrain.errors import ConfigError, DataError, MemoryExhausted
from dltrain.tasks import Binary, Regression
from dltrain.types import Kind

RNG = np.random.default_rng(0)
NUMBERS = {
    "inputs": RNG.normal(size=(4, 3, 2)).astype(np.float32),
    "targets": np.array([0, 2, 1, 2]),
    "lengths": np.array([3, 1, 2, 3]),
}
TOKENS = {
    "inputs": np.array([[0, 1, 2], [2, 2, 0]]),
    "targets": np.array([0.5, 1.5]),
    "vocabulary": np.array(["a", "b", "c"]),
}


def written(tmp_path, arrays):
    np.savez_compressed(tmp_path / "rows.npz", **arrays)
    return str(tmp_path / "rows.npz")


def test_numbers_with_lengths_and_labels(tmp_path):
    source = load_sequences(written(tmp_path, NUMBERS))
    rows = source.read(np.array([2, 0]))
    read = rows["inputs"]["sequence"]
    np.testing.assert_array_equal(read[0, :2], NUMBERS["inputs"][2, :2])
    assert (
        not read[0, 2:].any() and rows["targets"].tolist() == [1, 0] and rows["inputs"]["length"].tolist() == [2, 3]
    )
    assert (source.spec.input.kind, source.spec.classes) == (Kind.SEQUENCE, ("0", "1", "2"))
    assert list(source.spec.inputs) == ["sequence", "length"]


def test_weights_of_examples_are_for_the_loss_and_not_for_the_model(tmp_path):
    source = load_sequences(written(tmp_path, {**NUMBERS, "weights": np.array([0, 1, 2, 3])}))
    weights = source.read(np.array([3, 1]))["weights"]
    np.testing.assert_array_equal(weights, np.array([3, 1], np.float32), strict=True)
    assert list(source.spec.for_loss) == ["weights"] and list(source.spec.inputs) == ["sequence", "length"]


def test_tokens_and_numbers_to_be_predicted(tmp_path):
    source = load_sequences(written(tmp_path, TOKENS))
    rows = source.read(np.arange(2))
    assert rows["inputs"].dtype == np.int32 and rows["targets"].tolist() == [[0.5], [1.5]]
    assert (source.spec.input.kind, source.spec.vocabulary) == (Kind.TOKENS, ("a", "b", "c"))
    Regression().check(source.spec)
    two = load_sequences(
        written(tmp_path, {**TOKENS, "targets": np.array([0, 1]), "classes": np.array(["no", "yes"])})
    )
    Binary().check(two.spec)
    assert two.spec.classes == ("no", "yes")


def test_steps_after_the_length_of_an_example_do_not_matter(tmp_path):
    other = NUMBERS["inputs"].copy()
    other[1, 1:] = np.nan
    one, same = (load_sequences(written(tmp_path, {**NUMBERS, "inputs": x})) for x in (NUMBERS["inputs"], other))
    assert one.fingerprint == same.fingerprint


CHANGED = [
    (NUMBERS, {"inputs": None}, "holds no inputs, only targets, lengths"),
    (NUMBERS, {"targets": None}, "holds no targets"),
    (NUMBERS, {"lenghts": np.ones(4)}, "holds lenghts, which is unknown"),
    (NUMBERS, {"inputs": np.ones((4, 3))}, "inputs must be numbers on 3 axes, found float64 [4, 3]"),
    (NUMBERS, {"inputs": np.ones((4, 3, 0))}, "inputs [4, 3, 0] are empty"),
    (NUMBERS, {"inputs": np.ones((4, 3, 2), complex)}, "inputs must be numbers on 3 axes, found complex128"),
    (NUMBERS, {"inputs": np.ones((5, 3, 2))}, "the arrays differ in their number of examples"),
    (NUMBERS, {"lengths": np.array([3, 0, 2, 3])}, "the length of example 1 is 0, expected 1..3"),
    (NUMBERS, {"lengths": np.array([3, 4, 2, 3])}, "the length of example 1 is 4, expected 1..3"),
    (NUMBERS, {"lengths": np.array([3.0, 1, 2, 3])}, "lengths must be whole numbers on 1 axes, found float64 [4]"),
    (NUMBERS, {"lengths": np.array([3, 1])}, "the arrays differ in their number of examples"),
    (
        NUMBERS,
        {"weights": np.array([1, 0.5, -2, 0])},
        "the weight of example 2 is -2, expected 0 or more; 1 of 4 weights are negative",
    ),
    (NUMBERS, {"weights": np.array([1, np.inf, 1, 1])}, "weights of example 1: inf is not a finite number"),
    (NUMBERS, {"weights": np.zeros(4)}, "the weights of all examples are 0, so nothing would be learned"),
    (NUMBERS, {"weights": np.ones((4, 1))}, "weights must be numbers on 1 axes, found float64 [4, 1]"),
    (NUMBERS, {"weights": np.ones(3)}, "the arrays differ in their number of examples"),
    (NUMBERS, {"targets": np.array([0, -1, 1, 2])}, "the label of example 1 is -1"),
    (NUMBERS, {"targets": np.array(["a"] * 4)}, "targets must be numbers"),
    (NUMBERS, {"targets": np.array([0, 2**40, 1, 2])}, "do not fit 32 bits"),
    (NUMBERS, {"classes": np.array(["a", "a", "b"])}, "classes holds 'a' twice"),
    (NUMBERS, {"classes": np.array(["a", "b"])}, "the label of example 1 is 2, expected 0..1"),
    (NUMBERS, {"targets": np.ones(4), "classes": np.array(["a", "b"])}, "classes are for labels"),
    (NUMBERS, {"vocabulary": np.array(["a"])}, "with a vocabulary, inputs must be whole numbers [N, L]"),
    (
        NUMBERS,
        {"inputs": np.full((4, 3, 2), 1e39)},
        "inputs.sequence of example 0, column 0, 0: inf is not a finite number",
    ),
    (TOKENS, {"vocabulary": None}, "which are tokens: the vocabulary is missing"),
    (TOKENS, {"vocabulary": np.array(["a", "b"])}, "inputs of example 0, 2: 2, expected 0..1"),
    (TOKENS, {"vocabulary": np.arange(3)}, "vocabulary must be texts on one axis, found int64 [3]"),
    (TOKENS, {"targets": np.array([0.5, np.nan])}, "targets of example 1, column 0: nan is not a finite number"),
    (TOKENS, {"targets": np.array([0.5, None])}, "is not an npz file as numpy.savez writes it, or is damaged"),
]


@pytest.mark.parametrize(("arrays", "changes", "message"), CHANGED, ids=[case[2][:40] for case in CHANGED])
def test_an_array_that_does_not_fit_is_named(tmp_path, arrays, changes, message):
    changed = {part: array for part, array in {**arrays, **changes}.items() if array is not None}
    with pytest.raises(DataError, match=re.escape(message)):
        load_sequences(written(tmp_path, changed))


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_sequences(str(tmp_path / "none.npz"))
    with pytest.raises(ConfigError, match=r"data\.path: missing; set data\.path=FILE"):
        load_sequences()
    with pytest.raises(ConfigError, match=r"task=binary: needs two classes, the data has 3"):
        Binary().check(load_sequences(written(tmp_path, NUMBERS)).spec)
    whole = (tmp_path / "rows.npz").read_bytes()
    for damaged in (b"", pickle.dumps(NUMBERS), whole[: len(whole) // 2], whole[:100] + b"\0\0\0" + whole[103:]):
        (tmp_path / "rows.npz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"rows\.npz: is not an npz file"):
            load_sequences(str(tmp_path / "rows.npz"))


def test_a_header_that_declares_more_than_there_is_takes_no_memory(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3, 2)})
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("inputs.npy", stream.getvalue())
        archive.writestr("targets.npy", stream.getvalue())
    with pytest.raises(DataError, match=r"inputs\.npy has 0 bytes, its header declares 26388279066624"):
        load_sequences(str(tmp_path / "rows.npz"))


def test_arrays_that_are_more_than_memory_holds_are_refused_before_they_are_decompressed(tmp_path):
    """Zeros compress by a factor of a thousand; each byte becomes a number of four bytes."""
    arrays = {"inputs": np.zeros((1000, 50, 20), np.uint8), "targets": np.zeros(1000, np.int64)}
    path = written(tmp_path, arrays)
    assert (tmp_path / "rows.npz").stat().st_size < 10_000
    taken = 1000 * 50 * 20 * (1 + 4) + 1000 * (8 + 4)
    assert len(load_sequences(path, memory_left=taken)) == 1000
    tracemalloc.start()
    with pytest.raises(
        MemoryExhausted, match=r"1 MiB decompressed take 5 MiB while they are read, and 5 MiB are left"
    ):
        load_sequences(path, memory_left=taken - 1)
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


def test_a_command_that_would_decompress_too_much_ends_with_8(dltrain, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "host_room", lambda: memory.Room(10_000, "of a test's"))
    path = written(tmp_path, {"inputs": np.zeros((9, 50, 20)), "targets": np.zeros(9)})
    result = dltrain("data=sequences", f"data.path={path}", "model=lstm", "output_dir=run", cwd=tmp_path)
    assert (
        result.code == 8 and "0 MiB are left; leave out examples" in result.err and not (tmp_path / "run").exists()
    )
