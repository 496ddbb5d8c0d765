"""Sweeps that train nothing, are interrupted or killed: nothing is called failed, and what is left is said."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dltrain.runs.sweep_files import JOBS

pytestmark = pytest.mark.usefixtures("quickly_compiled")

D = ("data=iris", "data.split_seed=7", "model=linear", "quiet=true")


def test_a_dry_run_of_a_sweep_leaves_nothing_and_fails_nothing(dltrain, tmp_path: Path) -> None:
    said = dltrain("-m", *D, "seed=0,1", "dry_run=true", cwd=tmp_path)
    assert said.code == 0, said.err
    assert "failed" not in said.out and "dry run: 2 of 2 jobs can be trained" in said.out
    assert not [p for p in tmp_path.rglob("*") if p.is_file()] and not list(tmp_path.glob("multirun/*/*"))


def test_a_mistake_in_a_dry_sweep_is_still_one(dltrain, tmp_path: Path) -> None:
    said = dltrain("-m", *D, "optim.accumulate=1,7", "dry_run=true", cwd=tmp_path)
    assert said.code == 2 and "job 1: optim.accumulate=7" in said.err
    assert "dry run: 1 of 2 jobs can be trained" in said.out and not list(tmp_path.glob("multirun/*/*"))


@pytest.mark.parametrize("line", ["output_dir=foo/s${seed}", "output_dir=a,b"])
def test_the_folder_of_a_sweep_does_not_differ_between_its_jobs(dltrain, line: str, tmp_path: Path) -> None:
    said = dltrain("-m", *D, "seed=0,1", line, cwd=tmp_path)
    assert said.code == 2 and f"{line}: names the folder of the whole sweep" in said.err
    assert "hydra.sweep.subdir=" in said.err and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_reference_to_what_is_the_same_in_all_jobs_is_followed(dltrain, tmp_path: Path) -> None:
    said = dltrain("-m", *D, "seed=0,1", "steps=1", "output_dir=of/${batch_size}", cwd=tmp_path, figures=False)
    assert said.code == 0 and (tmp_path / "of" / "64" / "1" / "summary.json").exists(), said.err


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """A sweep of three jobs, interrupted in the second."""
    cwd = tmp_path_factory.mktemp("stopped")
    line = ("-m", *D, "steps=1,100000000,3", "eval_every=1h", "output_dir=grid", "checkpoint_every=1h")
    command = [sys.executable, "-m", "dltrain", *line]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics, end = cwd / "grid" / "1" / "metrics.jsonl", time.monotonic() + 90
    try:
        while not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return cwd, process.returncode, out, err


def test_an_interrupted_job_is_not_a_failed_one(stopped) -> None:
    _, code, out, _ = stopped
    assert code == 130
    assert "2 runs, 1 interrupted" in out and "failed" not in out


def test_an_interrupted_sweep_says_at_once_that_it_stops_and_then_what_is_left(stopped) -> None:
    cwd, _, _, err = stopped
    lines = err.splitlines()
    assert lines[0] == "dltrain: stopping after this chunk; again to quit now"
    assert f"dltrain: job 1 is not finished: dltrain resume {cwd}/grid/1" in lines
    (left,) = [line for line in lines if "job 2 did not train" in line]
    assert left.endswith(f"steps=3 eval_every=1h checkpoint_every=1h output_dir={cwd}/grid/2"), left


def test_a_sweep_that_was_killed_says_what_is_left_when_it_is_started_again(stopped, dltrain) -> None:
    cwd = stopped[0]
    said = dltrain("-m", *D, "steps=1,3", "output_dir=grid", cwd=cwd)
    assert said.code == 2 and "output_dir=grid: is not empty" in said.err
    assert "job 1 is not finished: dltrain resume" in said.err and "job 2 did not train" in said.err
    plan = json.loads((cwd / "grid" / JOBS / "plan.json").read_text())
    assert len(plan) == 3 and os.path.basename(plan[2][0])


class Killed(BaseException):
    """Ends a process at a line, as far as its files show."""


def test_a_sweep_killed_while_its_figures_are_drawn_is_concluded_when_it_is_resumed(
    dltrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise Killed

    line = ("-m", *D, "steps=1", "seed=0,1", "output_dir=grid")
    with monkeypatch.context() as patched:
        patched.setattr("dltrain.report.sweep.draw_figures", die)
        with pytest.raises(Killed):
            dltrain(*line, cwd=tmp_path, figures=False)
    monkeypatch.setattr("dltrain.report.sweep.draw_figures", lambda found: [])
    grid = tmp_path / "grid"
    written = [(grid / n / "summary.json").stat().st_mtime_ns for n in "01"]
    said = dltrain("-m", "--resume", "grid", cwd=tmp_path)
    assert said.code == 0 and "0 of 2 jobs are missing" in said.out, said.err
    assert (grid / "sweep.html").exists() and not (grid / JOBS).exists()
    assert written == [(grid / n / "summary.json").stat().st_mtime_ns for n in "01"]
    said = dltrain("-m", "--resume", "grid", cwd=tmp_path)
    assert said.code == 2 and "all jobs of this sweep have ended" in said.err
