"""A sweep that was killed runs what is missing once, to the bits of one that was not.

All processes compile with the same options: in this file no fixture makes them compile faster.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE = 400  # seconds for a process to end; one that hangs fails the test

# A model whose lanes round differently from a run alone.
LINE = ("-m", "data=digits", "model=mlp", "model.widths=[32]", "quiet=true", "eval_every=3", "sweep.known=[]")
WORDS = (*LINE, "checkpoint_every=3", "optim.learning_rate=0.01,0.1", "seed=0,1")
NUMBERS = (
    *LINE,
    "checkpoint_every=3",
    "loss=cross_entropy",
    "model.dropout=0.1,0.3",
    "loss.label_smoothing=0.1,0.2",
)
FORCED = """
import sys
import dltrain.sweep.train as sweeping
from dltrain.sweep.measure import Choice
sweeping.choose_lanes = lambda program, **about: Choice(about["begun"] or {lanes}, 2, "as tested")
from dltrain.report import finish
finish.draw = lambda *args, **options: None
from dltrain.cli.main import main
sys.exit(main())
"""


def start(lanes: int, *words: str, cwd: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", FORCED.format(lanes=lanes), *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def hashes(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["hash"] for path in folder.glob("*/summary.json")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep without a kill, in each number of lanes that is asked for."""
    cwd, found = tmp_path_factory.mktemp("whole"), {}

    def go(lanes: int, steps: int, words: tuple[str, ...] = WORDS) -> Path:
        folder = cwd / f"{lanes}-{steps}-{'seeds' if words is WORDS else 'numbers'}"
        if folder not in found:
            process = start(lanes, *words, f"steps={steps}", f"output_dir={folder}", cwd=cwd)
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
            found[folder] = True
        return folder

    return go


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize(
    ("lanes", "awaited"),
    [(4, "0"), (4, "3"), (3, "1"), (3, "3"), (2, "2"), (2, "3"), (1, "1"), (1, "3")],  # fewer lanes than jobs, too
)
def test_a_sweep_that_was_killed_runs_what_is_missing_once(lanes, awaited, whole, tmp_path):
    kill_and_resume(WORDS, lanes, awaited, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize(("lanes", "awaited"), [(4, "0"), (3, "3"), (1, "1")])
def test_a_killed_sweep_over_dropout_and_label_smoothing_ends_with_the_bits_of_a_whole_one(
    lanes, awaited, whole, tmp_path
):
    kill_and_resume(NUMBERS, lanes, awaited, whole, tmp_path)


def kill_and_resume(words: tuple[str, ...], lanes: int, awaited: str, whole, tmp_path: Path) -> None:
    """Kill a sweep when a job has a checkpoint, and compare what `--resume` makes of it with a whole sweep."""
    steps = 90
    process = start(lanes, *words, f"steps={steps}", "output_dir=killed", cwd=tmp_path)
    try:
        end = time.monotonic() + PATIENCE
        while not list((tmp_path / "killed").glob(f"{awaited}/checkpoints/step_*")):
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    again = start(9, "-m", "--resume", "killed", cwd=tmp_path)
    out, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0 and " of 4 jobs are missing" in out, err
    folder = whole(lanes, steps, words)
    assert hashes(tmp_path / "killed") == hashes(folder) and len(hashes(folder)) == 4
    assert (tmp_path / "killed" / "sweep.csv").read_text() == (folder / "sweep.csv").read_text()
    assert not (tmp_path / "killed" / ".jobs").exists() and not (tmp_path / "killed" / "lock").exists()


SEARCH = (*LINE, "checkpoint_every=3", "steps=60", "optim.learning_rate=interval(1e-3,1)", "sweep=random")


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize("lanes", [2, 1])
def test_a_search_that_was_killed_goes_on_from_its_checkpoints(lanes, tmp_path):
    words = (*SEARCH, "sweep.trials=4", "sweep.workers=2")
    first = start(lanes, *words, "output_dir=whole", cwd=tmp_path)
    _, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, err
    killed = start(lanes, *words, "output_dir=killed", cwd=tmp_path)
    try:
        end = time.monotonic() + PATIENCE
        while not list((tmp_path / "killed").glob("1/checkpoints/step_*")):
            assert killed.poll() is None and time.monotonic() < end, killed.communicate()
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    finally:
        killed.kill()
        killed.communicate()
    again = start(lanes, *words, "output_dir=killed", cwd=tmp_path)
    _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, err
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole") and len(hashes(tmp_path / "whole")) == 4
    assert (tmp_path / "killed" / "sweep.csv").read_text() == (tmp_path / "whole" / "sweep.csv").read_text()
    assert '"resumed"' in (tmp_path / "killed" / "1" / "overrides.yaml").read_text()
