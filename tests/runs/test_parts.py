"""A checkpoint that several processes write is committed once, or not at all, and then all of them know why."""

import errno
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dltrain.devices import memory
from dltrain.errors import DiskError, MemoryExhausted
from dltrain.runs import checkpoint, parts
from dltrain.runs.files import Files, digest
from tests.devices.test_channel import Store, in_each

META = {"callbacks": {}, "best": None, "kept": []}


@pytest.fixture
def arrays() -> dict[str, jax.Array]:
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",), axis_types=(AxisType.Auto,))
    where = NamedSharding(mesh, PartitionSpec())
    values = {"params.kernel": np.arange(2048, dtype=np.float32).reshape(64, 32), "step": np.int32(3)}
    return {name: jax.device_put(value, where) for name, value in values.items()}


def save(place: Path, arrays: dict[str, jax.Array], *, count: int = 2) -> list[Any]:
    """Let each process save; only the folder of process 0 is used."""

    def one(channel: Any) -> None:
        files = Files(place if channel.index == 0 else place / "never")
        parts.save_parts(files, 3, arrays, META, {"run": "x"}, channel)

    return in_each(Store(count), one, heartbeat=0.5)


@pytest.fixture
def only_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of a test are this one: process 0 writes for all, and the others write a file of their own."""
    write = parts.write_own

    def write_own(draft: Path, arrays: Any, index: int) -> dict[str, dict[str, Any]]:
        if index == 0:
            return write(draft, arrays, 0)
        own = draft / "arrays" / f"ocdbt.process_{index}.txt"
        own.write_text("mine")
        return {str(own.relative_to(draft)): {"size": own.stat().st_size, "sha256": digest(own)}}

    monkeypatch.setattr(parts, "write_own", write_own)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_is_committed_once_with_the_files_of_all(only_first: None, arrays: dict, tmp_path: Path) -> None:
    assert save(tmp_path, arrays) == [None, None]
    assert names(tmp_path) == ["step_00000003"]
    assert not checkpoint.problems(tmp_path / "step_00000003")
    found = checkpoint.load(tmp_path, 3)
    assert (dict(found.meta), dict(found.about)) == (META, {"run": "x"})
    assert {name: value.tolist() for name, value in found.leaves.items()} == {
        name: np.asarray(value).tolist() for name, value in arrays.items()
    }
    (tmp_path / "step_00000003" / "arrays" / "ocdbt.process_1.txt").write_text("others")
    wrong = checkpoint.problems(tmp_path / "step_00000003")
    assert len(wrong) == 1 and "ocdbt.process_1.txt" in wrong[0]
    each = [checkpoint.problems(tmp_path / "step_00000003", part=part, parts=3) for part in range(3)]
    assert sorted(map(len, each)) == [0, 0, 1]


def test_the_path_of_the_folder_may_be_relative(
    only_first: None, arrays: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save(Path("run"), arrays) == [None, None]
    assert checkpoint.problems(Path("run") / checkpoint.name_of(3)) == []


def test_an_intact_checkpoint_is_not_written_again(
    only_first: None, arrays: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert save(tmp_path, arrays) == [None, None]
    monkeypatch.setattr(parts, "write_own", pytest.fail)
    assert save(tmp_path, arrays) == [None, None]


@pytest.mark.parametrize("rank", [0, 1])
def test_all_learn_who_could_not_write_and_nothing_is_committed(
    only_first: None, arrays: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    write = parts.write_own

    def failing(draft: Path, arrays: Any, index: int) -> Any:
        if index == rank:
            raise DiskError(f"cannot write {draft}: {os.strerror(errno.ENOSPC)}")
        return write(draft, arrays, index)

    monkeypatch.setattr(parts, "write_own", failing)
    found = save(tmp_path, arrays)
    assert all(isinstance(error, DiskError) and "No space left" in str(error) for error in found)
    assert f"process {rank} of a run of several processes could not write its part" in str(found[1 - rank])
    assert "step 3, which was not committed" in str(found[1 - rank])
    assert names(tmp_path) == []


def test_all_learn_that_process_0_could_not_commit(
    only_first: None, arrays: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any) -> None:
        raise DiskError("cannot write the manifest")

    monkeypatch.setattr(checkpoint, "commit", failing)
    found = save(tmp_path, arrays)
    assert "cannot write the manifest" in str(found[0])
    assert "process 0 of a run" in str(found[1]) and "cannot write the manifest" in str(found[1])
    assert names(tmp_path) == []


def test_all_begin_again_if_the_run_folder_was_renamed(
    only_first: None, arrays: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, moved, write, drafts = tmp_path / "run", tmp_path / "moved", parts.write_own, []
    files = Files(place)
    files.make()
    files.hold()

    def renaming(draft: Path, arrays: Any, index: int) -> Any:
        if index == 1:
            drafts.append(draft.parent.parent)
            if place.exists():
                place.rename(moved)
        return write(draft, arrays, index) if draft.exists() else {}

    monkeypatch.setattr(parts, "write_own", renaming)

    def one(channel: Any) -> None:
        folder = files / "checkpoints" if channel.index == 0 else Files(tmp_path / "never")
        parts.save_parts(folder, 3, arrays, META, None, channel)

    assert in_each(Store(2), one, heartbeat=0.5) == [None, None]
    files.let_go()
    assert drafts == [place, moved] and not place.exists()
    assert names(moved / "checkpoints") == ["step_00000003"]
    assert not checkpoint.problems(moved / "checkpoints" / "step_00000003")


def test_arrays_are_read_when_they_are_asked_for(only_first: None, arrays: dict, tmp_path: Path) -> None:
    assert save(tmp_path, arrays) == [None, None]
    opened = checkpoint.opened(tmp_path / "step_00000003", 3)
    assert sorted(opened.leaves) == sorted(arrays) and len(opened.leaves) == 2
    assert opened.leaves["step"] == 3
    where = arrays["step"].sharding
    wanted = {"params.kernel": ((64, 32), where), "step": ((), where), "unknown": ((), where)}
    found = opened.leaves.parts(wanted)
    assert sorted(found) == ["params.kernel", "step"]
    assert isinstance(found["params.kernel"], jax.Array) and found["params.kernel"].sharding == where
    assert isinstance(found["step"], np.ndarray)
    np.testing.assert_array_equal(found["params.kernel"], arrays["params.kernel"])
    other = opened.leaves.parts({"params.kernel": ((64, 33), where)})  # whoever asks says what is wrong
    assert isinstance(other["params.kernel"], np.ndarray)


def test_only_what_is_read_has_to_fit_into_memory(
    only_first: None, arrays: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert save(tmp_path, arrays) == [None, None]
    leaves = checkpoint.opened(tmp_path / "step_00000003", 3).leaves
    monkeypatch.setattr(memory, "host_room", lambda: memory.Room(100, "of a test's memory"))
    assert leaves["step"] == 3
    with pytest.raises(MemoryExhausted, match="of a test's memory"):
        leaves.parts({"params.kernel": ((64, 32), arrays["step"].sharding)})
