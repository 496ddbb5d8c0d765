"""A run from start to end: saves in a thread, within their share of the time; non-finite steps."""

import json
import re
import shutil
import time
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from dltrain.engine import loop
from dltrain.errors import DiskError
from dltrain.report import start
from dltrain.runs import checkpoint
from dltrain.runs import saver as saving
from dltrain.runs.folder import RunFolder
from dltrain.runs.saver import Saver

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")


@pytest.mark.parametrize(("share", "saved"), [(None, [1, 2, 3, 4]), (0.05, [1, 4])])
def test_automatic_saves_take_at_most_their_share_of_the_time(monkeypatch, tmp_path, share, saved):
    clock = [0.0]
    found = []
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def save(self, step, state):
        found.append(step)
        self.took, self.ended = 0.5, clock[0]

    monkeypatch.setattr(Saver, "save", save)
    saver = Saver(tmp_path, None, {}, share=share, warn=print)
    for step, now in ((1, 1.0), (2, 2.0), (3, 10.9), (4, 11.0)):  # 0.5 s a save: one in ten seconds
        clock[0] = now
        saver(SimpleNamespace(step=step, state=None))
    assert found == saved


def test_a_save_holds_the_state_at_its_time_and_training_continues(program, tmp_path, monkeypatch):
    """The next chunk reuses the state's memory while the thread still writes."""
    gate, write = [], checkpoint.save

    def slow(*args):
        while not gate:
            time.sleep(0.01)
        return write(*args)

    monkeypatch.setattr(checkpoint, "save", slow)
    saver, state = Saver(tmp_path, None, {}, warn=print), program.start()
    before = np.array(state.params["head"]["kernel"])
    saver.save(0, state)
    state, _ = program.chunk(state, program.data, program.feed_chunk(0, 6), np.int32(6))
    assert np.abs(np.asarray(state.params["head"]["kernel"]) - before).max() > 0.01
    assert checkpoint.steps(tmp_path) == []
    gate.append(True)
    saver.wait()
    np.testing.assert_array_equal(checkpoint.load(tmp_path, 0).leaves["params.head.kernel"], before)


def test_a_save_holds_the_callback_state_at_its_time(program, tmp_path):
    """The state of a callback may change while the thread still writes."""
    remembered = [3]
    saver = Saver(tmp_path, None, {"nonfinite": SimpleNamespace(state=lambda: remembered)}, warn=print)
    saver.save(0, program.start())
    remembered.append(9)
    saver.wait()
    assert checkpoint.load(tmp_path, 0).meta["callbacks"] == {"nonfinite": [3]}


def test_kept_steps_stay_in_addition_to_the_last_and_the_best(tmp_path, program):
    best = SimpleNamespace(step=3, value=0.5)
    saver, state = Saver(tmp_path, best, {}, keeps=lambda step: step % 4 == 0, warn=print), program.start()
    for step in range(1, 10):
        saver.save(step, state)
    saver.wait()
    assert checkpoint.steps(tmp_path) == [3, 4, 8, 9]


def test_a_best_state_waits_for_its_share_of_the_time_and_is_written_before_a_later_one(tmp_path, program):
    best = SimpleNamespace(step=0, value=0.5)
    saver, state = Saver(tmp_path, best, {}, defers=0.05, warn=print), program.start()
    written = []
    for best.step, took in ((1, saver.took), (2, 0.0), (3, 1000.0), (4, 1000.0)):  # seconds of the write before
        saver.took = took
        saver.save_best(best.step, state)
        saver._join_thread()
        written.append(checkpoint.steps(tmp_path))
    assert written == [[], [2], [2], [2]]  # the first waits, too: how long a write takes is not known yet
    saver.save(5, state)
    saver.wait()
    assert checkpoint.steps(tmp_path) == [4, 5]  # of 3 nothing was written
    assert checkpoint.load(tmp_path, 4).meta["best"] == 4
    assert saver.remembered(4) is not None and saver.remembered(2) is None


@pytest.mark.parametrize("end", ["join", "save", "later"])
def test_a_best_state_that_waits_is_written_when_the_run_ends_or_saves_or_its_turn_comes(tmp_path, program, end):
    saver, state = Saver(tmp_path, SimpleNamespace(step=2, value=0.5), {}, defers=0.05, warn=print), program.start()
    saver.save_best(1, state)
    saver._join_thread()
    saver.took = 1000.0
    saver.save_best(2, state)
    if end == "later":
        saver.took = 0.0
        saver.check(None)
    elif end == "save":
        saver.save(2, state)
        saver._join_thread()
    saver.join()
    assert checkpoint.steps(tmp_path) == [2]


def test_a_failed_save_ends_the_run_with_6_and_the_older_checkpoint_is_whole(dltrain, tmp_path, monkeypatch):
    write, calls = checkpoint.save, []

    def failing(folder, step, *args):
        calls.append(step)
        if len(calls) == 2:
            raise DiskError(f"cannot write {folder}: No space left on device")
        return write(folder, step, *args)

    monkeypatch.setattr(checkpoint, "save", failing)
    words = ("data=iris", "model.widths=[4]", "quiet=true", "checkpoint_every=2", "steps=40", "monitor=null")
    result = dltrain(*words, "eval_every=2", "output_dir=run", cwd=tmp_path)
    assert result.code == 6 and "No space left on device" in result.err
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == calls[:1]
    assert checkpoint.problems(tmp_path / "run" / "checkpoints" / f"step_{calls[0]:08d}") == []
    assert dltrain("resume", "run", cwd=tmp_path).code == 0


INLINE = (
    "data=inline",
    "data.inputs=[[0,1],[1,1],[2,1],[3,1],[4,1],[5,1],[6,1],[7,1]]",
    "data.targets=[0,0,0,0,1,1,1,1]",
    "data.validation=0",
    "data.test=0",
    "data.scale=none",
    "batch_size=2",
    "model=mlp",
    "model.widths=[4]",
    "model.kernel_init=ones",
    "optim.learning_rate=0.01",
    "log_every=1",
    "checkpoint_every=2",
    "quiet=true",
    "output_dir=run",
)
HUGE = "data.inputs=[[0,1],[1,1],[2,1],[3e38,3e38],[4,1],[5,1],[6,1],[7,1]]"


def rows_of(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in lines if row["split"] == "train"]


def test_a_step_that_is_not_finite_is_named_with_its_layer_and_its_batch_is_kept(dltrain, tmp_path):
    result = dltrain(*INLINE, HUGE, "steps=12", "model.remat=true", cwd=tmp_path)
    assert result.code == 5
    step = int(re.search(r"at step (\d+)", result.err)[1])
    assert "first not finite: the output of hidden.0 (Linear)" in result.err
    kept = np.load(tmp_path / "run" / "nonfinite" / f"step_{step:08d}.npz")
    assert 3 in kept["examples"] and kept["inputs"].max() == np.float32(3e38)
    assert f"nonfinite/step_{step:08d}.npz" in result.err


def test_rollback_goes_back_and_leaves_the_step_out(dltrain, tmp_path):
    """Example 3 makes one step in each of four epochs non-finite: three are left out, the fourth ends the run."""
    result = dltrain(*INLINE, HUGE, "steps=12", "on_nonfinite=rollback", cwd=tmp_path)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["left_out"]) == 3 and summary["steps"] == 12
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 13))  # no step twice
    assert [row["step"] for row in rows if row["loss"] is None] == summary["left_out"]
    result = dltrain("resume", "run", "steps=16", cwd=tmp_path)
    assert result.code == 5 and "first not finite" in result.err
    # the same steps skipped instead of rolled back end with the same bits
    assert dltrain(*INLINE, HUGE, "steps=12", "on_nonfinite=skip", "output_dir=skipped", cwd=tmp_path).code == 0
    other = json.loads((tmp_path / "skipped" / "summary.json").read_text())
    assert (other["hash"], other["skipped"]) == (summary["hash"], summary["left_out"])


def test_saves_and_seconds_count_what_was_rolled_back_too(dltrain, tmp_path, monkeypatch):
    """With a clock that only a save advances, by one second; the last may still be written when training ends."""
    write, clock = checkpoint.save, [0.0]

    def slow(*args):
        clock[0] += 1
        return write(*args)

    for module in (saving, loop):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(checkpoint, "save", slow)
    assert dltrain(*INLINE, HUGE, "steps=12", "on_nonfinite=rollback", cwd=tmp_path).code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["left_out"]) == 3
    assert summary["saves"]["count"] == clock[0] > 6
    assert clock[0] - 1 <= summary["seconds"] <= clock[0]


def test_seconds_count_all_segments_of_a_run(dltrain, tmp_path):
    assert dltrain(*INLINE, "steps=4", cwd=tmp_path).code == 0
    first = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert dltrain("resume", "run", "steps=8", cwd=tmp_path).code == 0
    second = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert second["seconds"] > first["seconds"]
    assert (first["saves"]["count"], second["saves"]["count"]) == (2, 4)


def test_a_disk_without_room_for_two_checkpoints_is_found_before_the_first_step(dltrain, tmp_path, monkeypatch):
    """The state of this model takes 0.8 MiB: 256 x 256 weights with their two moments."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**30, 0, 2**20))
    monkeypatch.setattr(start, "compile_training", lambda program: 0)
    result = dltrain(*INLINE, "model.widths=[256,256]", "steps=1", cwd=tmp_path)
    assert result.code == 6, result.err
    assert re.search(r"run: 1\.0 MiB of disk are free, and two checkpoints take 1\.\d MiB; free some", result.err)
    assert not (tmp_path / "run/metrics.jsonl").exists() and not (tmp_path / "run/checkpoints").exists()
    RunFolder(tmp_path).check_disk(2**19)  # exactly what is there
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 0))
    RunFolder(tmp_path).check_disk(2**19)  # a file system that does not tell
