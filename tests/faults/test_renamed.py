"""A run folder that is renamed, moved or deleted while it is trained: the run goes on in it, or ends with 6."""

import json
import os
import shutil

import pytest
from few import few

# TensorStore reports to an event loop that Orbax has closed if a write fails: nothing that dltrain could catch.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("quickly_compiled"),
]

MOVER = '''
import os, shutil
from pathlib import Path


class Move:
    """Renames, moves or deletes the run folder when step `at` is done."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how = at, how

    def __call__(self, event) -> None:
        if event.step == self.at:
            HOW[self.how]()


PARTS = "checkpoints", "metrics.jsonl"


def delete(path):
    while os.path.exists(path):  # the run may be saving into it
        shutil.rmtree(path, ignore_errors=True)


def replace():
    os.rename("run", "moved")
    Path("run").mkdir()
    Path("run/mine").write_text("mine")


HOW = {
    "renamed": lambda: os.rename("run", "moved"),
    "its parent renamed": lambda: os.rename("up", "moved"),
    "another in its place": replace,
    "moved down": lambda: (Path("deep/er").mkdir(parents=True), os.rename("run", "deep/er/run")),
    "deleted": lambda: delete("run"),
    **{f"part {name}": lambda name=name: os.rename(f"run/{name}", "aside") for name in PARTS},
    "moved to another disk": lambda: (os.system("cp -r run moved 2> /dev/null"), delete("run")),
}
'''
CHOICE = "# Moves the run folder\nmove: {_target_: mover.Move, at: 4, how: renamed, every: 1}\n"
MOVED = {
    "renamed": ("run", "moved"),
    "its parent renamed": ("up/run", "moved/run"),
    "another in its place": ("run", "moved"),
    "moved down": ("run", "deep/er/run"),
}
GONE = ("deleted", "moved to another disk")


@pytest.fixture
def own(tmp_path, monkeypatch) -> tuple[str, ...]:
    """The words that choose the callback."""
    (tmp_path / "conf/callbacks").mkdir(parents=True)
    (tmp_path / "conf/callbacks/move.yaml").write_text(CHOICE)
    (tmp_path / "mover.py").write_text(MOVER)
    monkeypatch.syspath_prepend(tmp_path)
    return ("--config-dir", "conf", "trust=[mover]", "callbacks=move", "quiet=true")


@pytest.mark.timeout(100)
@few("how", list(MOVED), 2)
@few("absolute", [False, True], 1, ids=["relative", "absolute"])
@pytest.mark.slow
def test_a_renamed_run_goes_on_where_its_folder_is(dltrain, own, words, tmp_path, how, absolute, count):
    before, after = MOVED[how]
    place = tmp_path / before if absolute else before
    count.tried += 1
    line = (*words, *own, "steps=8", f"callbacks.move.how='{how}'", f"output_dir={place}")
    result = dltrain(*line, cwd=tmp_path, figures=False)
    assert result.code == 0, result
    assert (
        f"the run folder was renamed: this run goes on in {tmp_path / after if absolute else after}\n" in result.err
    )
    assert f"run folder  {tmp_path / after if absolute else after}\n" in result.out
    folder = tmp_path / after
    assert {p.name for p in (tmp_path / before).rglob("*")} <= {"mine"}  # no second half
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "train"] == list(range(1, 9))
    assert (folder / "summary.json").exists() and list((folder / "tensorboard").rglob("events.*"))
    assert dltrain("hash", after, cwd=tmp_path).out.endswith("step 8\n")
    assert dltrain("verify", after, cwd=tmp_path).code == 0
    count.survived += 1


@pytest.mark.timeout(100)
@few("how", GONE, 1)
def test_a_run_whose_folder_is_gone_ends_with_6_and_leaves_nothing(dltrain, own, words, tmp_path, how):
    line = (*words, *own, "steps=8", f"callbacks.move.how='{how}'", "output_dir=run")
    result = dltrain(*line, cwd=tmp_path, figures=False)
    assert result.code == 6 and "run was deleted, or moved to another disk" in result.err, result
    assert not (tmp_path / "run").exists()
    if how != "deleted":
        assert dltrain("resume", "moved", "callbacks=none", "trust=[mover]", cwd=tmp_path, figures=False).code == 0


@pytest.mark.timeout(100)
@few("name", ["checkpoints", "metrics.jsonl"], ("metrics.jsonl",))
def test_a_part_of_a_run_folder_that_is_renamed_ends_the_run_with_6(dltrain, own, words, tmp_path, name):
    line = (*words, *own, "steps=8", f"callbacks.move.how='part {name}'", "output_dir=run")
    result = dltrain(*line, cwd=tmp_path, figures=False)
    assert result.code == 6 and f"run/{name} was renamed" in result.err, result
    assert not (tmp_path / "run" / name).exists(), list((tmp_path / "run" / name).rglob("*"))  # no second half


@pytest.mark.timeout(100)
def test_a_folder_that_is_renamed_while_orbax_writes_has_every_checkpoint(dltrain, words, tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    save, calls = ocp.Checkpointer.save, []

    def moving(self, path, *args, **kwargs):
        calls.append(str(path))
        if len(calls) == 3:
            os.rename(tmp_path / "run", tmp_path / "moved")
        return save(self, path, *args, **kwargs)

    monkeypatch.setattr(ocp.Checkpointer, "save", moving)
    result = dltrain(*words, "steps=5", "quiet=true", "output_dir=run", cwd=tmp_path, figures=False)
    assert result.code == 0 and "this run goes on in moved" in result.err, result
    assert not (tmp_path / "run").exists()
    assert "/run/" in calls[2] and "/moved/" in calls[3]
    assert dltrain("hash", "moved", cwd=tmp_path).out.endswith("step 5\n")


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_run_renamed_at_random_instants_is_the_run_left_alone(
    start, words, tmp_path, rng, tries, count, clean, same, saved
):
    import time

    for i in range(tries(20)):
        cwd = tmp_path / str(i)
        cwd.mkdir()
        process = start(*words, "steps=40", "output_dir=run", "quiet=true", cwd=cwd)
        while process.poll() is None and not saved(cwd / "run"):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3 * clean.seconds))
        count.tried += 1
        count.note(while_training=process.poll() is None)
        os.rename(cwd / "run", cwd / "moved")
        err = process.communicate(timeout=60)[1]
        assert process.returncode == 0, err
        assert not (cwd / "run").exists(), sorted((cwd / "run").rglob("*"))
        same(cwd / "moved", clean)
        shutil.rmtree(cwd)
        count.survived += 1
