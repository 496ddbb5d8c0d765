"""Checkpoints: every damaged bit is detected, the previous one is used, and nothing is deleted too early."""

import hashlib
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
import tensorstore

from dltrain.engine.state import from_named, named_leaves, state_hash
from dltrain.errors import CheckpointError, DiskError, MemoryExhausted
from dltrain.runs import checkpoint
from dltrain.runs.checkpoint import load, load_last, problems, prune, save, steps
from dltrain.runs.files import Files

LEAVES = {
    "params.kernel": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "params.half": np.arange(3).astype(ml_dtypes.bfloat16),
    "key": np.array([0, 2**32 - 1], np.uint32),
    "step": np.array(4, np.int32),
    "active": np.array(True),
}
META = {"callbacks": {"best": {"value": 0.5}}, "best": 4}
ABOUT = {"versions": {"jax": "0.10.2"}, "config": "c0", "data": "d0"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the checkpoints of steps 4 and 8; copy it before damaging it."""
    folder = tmp_path_factory.mktemp("written")
    save(folder, 4, LEAVES, META, ABOUT)
    save(folder, 8, {**LEAVES, "step": np.array(8, np.int32)}, META)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A copy of it."""
    return shutil.copytree(written, tmp_path / "checkpoints")


def files_of(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def reseal(path, change):
    """Alter a manifest and its checksum, as an attacker would."""
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    change(manifest)
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    digest = hashlib.sha256((path / checkpoint.MANIFEST).read_bytes()).hexdigest()
    (path / checkpoint.SEAL).write_text(digest)


def test_arrays_and_callback_state_are_restored_bit_for_bit(folder):
    found = load(folder, 4)
    assert (found.step, found.meta, found.about) == (4, META, ABOUT)
    assert found.leaves.keys() == LEAVES.keys()
    for name, value in LEAVES.items():
        assert found.leaves[name].dtype == value.dtype, name
        assert found.leaves[name].shape == value.shape, name
        assert found.leaves[name].tobytes() == value.tobytes(), name


def test_run_resumed_in_the_middle_of_an_epoch_gives_the_same_hash(program, tmp_path):
    def go_on(state, start, end):
        n = end - start
        return program.chunk(state, program.data, program.feed_chunk(start, n), np.int32(n))[0]

    fresh = jax.device_get(named_leaves(program.start()))
    straight = go_on(from_named(program.shapes, fresh, what=""), 0, 18)
    save(tmp_path, 8, named_leaves(go_on(from_named(program.shapes, fresh, what=""), 0, 8)), {})
    resumed = go_on(from_named(program.shapes, load(tmp_path, 8).leaves, what=""), 8, 18)
    assert state_hash(jax.device_get(named_leaves(resumed))) == state_hash(jax.device_get(named_leaves(straight)))


def test_manifest_of_an_older_version_is_read(folder):
    reseal(folder / "step_00000004", lambda manifest: manifest.pop("about"))
    assert load(folder, 4).about == {} and load(folder, 4).meta == META


def test_each_truncated_altered_or_missing_file_is_named(folder):
    path = folder / "step_00000004"
    assert problems(path) == []
    assert len(files_of(path)) > 3
    for file in files_of(path):
        whole, name = file.read_bytes(), str(file.relative_to(path))
        harmed = [whole[: len(whole) // 2], whole + b"\0"]
        for place in {0, len(whole) // 2, len(whole) - 1} if whole else ():
            harmed.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        for content in harmed:
            if content != whole:
                file.write_bytes(content)
                assert any(name in line for line in problems(path)), (name, problems(path))
        file.unlink()
        assert any(name in line for line in problems(path)), name
        file.write_bytes(whole)
    assert problems(path) == []


def test_damaged_checkpoint_is_moved_aside_with_a_warning_and_the_previous_one_is_used(folder):
    harmed = max(files_of(folder / "step_00000008" / "arrays"), key=lambda p: p.stat().st_size)
    harmed.write_bytes(harmed.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"step_00000008 is damaged.*bytes, expected"):
        load(folder, 8)
    result = []
    assert load_last(folder, warn=result.append, mend=True).leaves["step"] == 4
    assert len(result) == 1
    assert "step_00000008 is damaged" in result[0]
    assert sorted(p.name for p in folder.iterdir()) == ["damaged_step_00000008", "step_00000004"]


def test_all_checkpoints_damaged_is_an_error(folder):
    for step in steps(folder):
        (folder / f"step_{step:08d}" / checkpoint.MANIFEST).write_text("{")
    result = []
    with pytest.raises(CheckpointError, match="has no usable checkpoint; training was not restarted"):
        load_last(folder, warn=result.append)
    assert len(result) == 2
    with pytest.raises(CheckpointError):
        load_last(folder / "none", warn=result.append)


@pytest.mark.parametrize("name", ["../outside", "arrays/../../outside", "/etc/hostname", "link"])
def test_manifest_with_a_file_outside_its_folder_is_an_error(folder, name):
    path = folder / "step_00000004"
    (folder / "outside").write_text("secret")
    (path / "link").symlink_to(folder / "outside")
    listed = {"size": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}
    reseal(path, lambda manifest: manifest["files"].update({name: listed}))
    assert problems(path) == [f"{name} points outside the folder"]
    with pytest.raises(CheckpointError, match="points outside the folder"):
        load(folder, 4)


@pytest.mark.parametrize(
    "manifest",
    [
        "[]",
        "{}",
        '{"step": 4, "files": {"a": 1}}',
        '{"step": "x", "files": {}}',
        '{"step": 4, "files": {}, "meta": {}, "arrays": {}, "about": []}',
        '{"step": 4, "files": {}, "meta": {}, "arrays": {}, "about": {"versions": 7}}',
        "\0",
    ],
)
def test_malformed_manifest_is_damage_not_a_crash(folder, manifest):
    (folder / "step_00000004" / checkpoint.MANIFEST).write_text(manifest)
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    (folder / "step_00000004" / checkpoint.SEAL).write_text(digest)
    assert "manifest.json cannot be read" in problems(folder / "step_00000004")[0]


def test_renamed_checkpoint_is_an_error(folder):
    (folder / "step_00000004").rename(folder / "step_00000005")
    with pytest.raises(CheckpointError, match="is of step 4"):
        load(folder, 5)


def damage(path):
    file = files_of(path)[0]
    file.write_bytes(file.read_bytes() + b"x")


def test_pruning_deletes_nothing_if_the_newest_is_damaged(folder):
    save(folder, 12, LEAVES, META)
    damage(folder / "step_00000012")
    with pytest.raises(CheckpointError, match="step_00000012 is damaged, although it was just written"):
        prune(folder, {4, 12}, warn=lambda line: None)
    with pytest.raises(CheckpointError):
        prune(folder, {16}, warn=lambda line: None)  # the one to keep was never written
    assert steps(folder) == [4, 8]


def test_pruning_keeps_the_given_steps_and_moves_a_damaged_one_aside(folder):
    save(folder, 12, LEAVES, META)
    prune(folder, {4, 12}, warn=print)
    assert steps(folder) == [4, 12]
    damage(folder / "step_00000004")
    result = []
    prune(folder, {4, 12}, warn=result.append)
    assert steps(folder) == [12] and (folder / "damaged_step_00000004").is_dir()
    assert result and "checkpoint step_00000004 is damaged" in result[0]


def test_saving_a_step_again_replaces_only_a_damaged_checkpoint(folder):
    file = files_of(folder / "step_00000008")[0]
    before = file.stat().st_ino
    assert save(folder, 8, LEAVES, META) == folder / "step_00000008"
    assert file.stat().st_ino == before
    file.write_bytes(file.read_bytes() + b"x")
    save(folder, 8, LEAVES, META)
    assert problems(folder / "step_00000008") == []
    assert not list(folder.glob(".writing*"))


def test_failed_save_leaves_no_checkpoint_and_keeps_the_previous_one(folder, monkeypatch):
    def full(files, name, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "replace_json", full)
    with pytest.raises(DiskError, match=r"cannot write .*step_00000012: No space left"):
        save(folder, 12, LEAVES, META)
    assert steps(folder) == [4, 8]
    monkeypatch.undo()
    (folder / "step_00000016").mkdir()  # without a manifest: none
    result = []
    assert load_last(folder, warn=result.append, mend=True).step == 8
    assert len(result) == 1 and "step_00000016 is damaged (manifest.json is missing)" in result[0]
    save(folder, 12, LEAVES, META)  # over what the failed one left behind
    assert steps(folder) == [4, 8, 12]


@pytest.mark.parametrize("admitted", [False, True])
def test_huge_arrays_are_an_error_before_memory_is_allocated(folder, admitted):
    """Four terabytes, with valid checksums; TensorStore would end the process if it cannot allocate them."""
    path, shape = folder / "step_00000008", [10**6, 10**6]
    arrays = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{path}/arrays/"}).result()
    described = json.loads(arrays[b"params.kernel/.zarray"])
    arrays[b"params.kernel/.zarray"] = json.dumps({**described, "shape": shape}).encode()

    def change(manifest):
        for file in files_of(path / "arrays"):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            manifest["files"][str(file.relative_to(path))] = {"size": file.stat().st_size, "sha256": digest}
        if admitted:
            manifest["arrays"]["params.kernel"][1] = shape

    reseal(path, change)
    assert problems(path) == []
    error, message = (MemoryExhausted, "and there are") if admitted else (CheckpointError, "its manifest says")
    with pytest.raises(error, match=message):
        load(folder, 8)


def test_nothing_is_unpickled(folder):
    found, listening = [], []
    sys.addaudithook(lambda event, args: found.append(args) if listening and event == "pickle.find_class" else None)
    listening.append(True)  # a hook cannot be taken away, but this one hears nothing before and after
    pickle.loads(pickle.dumps(Path()))
    assert found  # it does hear
    found.clear()
    load_last(folder, warn=print)
    listening.clear()
    assert found == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [checkpoint.MANIFEST, checkpoint.SEAL])
def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert checkpoint.problems(tmp_path) == [f"{name} is not a file"]
