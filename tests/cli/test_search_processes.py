"""A search in processes: each trial once, and none is lost where a process is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dltrain.cli.search_processes import ProcessSearch, make_workers
from dltrain.report.sweeps.board import Board
from dltrain.sweep.needs import Need, write_need
from dltrain.sweep.workers import Event

RATE = "optim.learning_rate=interval(1e-3,1)"
WORDS = ("-m", "data=digits", "model=mlp", "model.widths=[32]", "quiet=true", "eval_every=3", "checkpoint_every=3")
SEARCH = (*WORDS, "steps=60", "sweep=random", "sweep.trials=5", "sweep.processes=2", RATE)


def summaries(folder: Path) -> dict[int, dict]:
    return {int(path.parent.name): json.loads(path.read_text()) for path in folder.glob("*/summary.json")}


def resumed(folder: Path) -> list[int]:
    found = {int(p.parent.name): json.loads(p.read_text()) for p in folder.glob("*/overrides.yaml")}
    return sorted(number for number, started in found.items() if started.get("resumed"))


def start(cwd: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dltrain", *words, "output_dir=s"]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(process: subprocess.Popen) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_until(process: subprocess.Popen, found) -> None:
    end = time.monotonic() + 100
    while not found():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)


def has_checkpoint(folder: Path) -> bool:
    return any(folder.glob("*/checkpoints/step_*"))


@pytest.mark.slow
def test_trials_are_trained_and_pruned_in_processes(dltrain, tmp_path):
    small = ("-m", "data=iris", "data.split_seed=7", "model=linear", "epochs=3", "quiet=true", RATE)
    pruned = ("sweep=asha", "sweep.objectives=[validation/loss]", "sweep.trials=5", "sweep.processes=2")
    result = dltrain(*small, *pruned, "output_dir=s", cwd=tmp_path)
    assert result.code == 0, result.err
    found = summaries(tmp_path / "s")
    ways = {n: str(summary["stop_reason"]).startswith("pruned") for n, summary in found.items()}
    assert sorted(found) == [*range(5)] and set(ways.values()) == {True, False}
    assert all(f"job {number}: optim.learning_rate=" in result.out for number in found)
    drawn = [path.parent.parent.name for path in (tmp_path / "s").glob("*/report/curves.png")]
    assert len(drawn) == 1 and not ways[int(drawn[0])]
    assert not (tmp_path / "s" / ".jobs").exists()


def test_more_processes_start_when_a_job_has_measured_how_many_fit(tmp_path, monkeypatch, capsys):
    """Two simulated GPUs of 80 GiB; the workers are started by `keep_busy`, so here only their number counts."""
    workers = make_workers(16, tmp_path, ("0", "1"))
    ended = Event(0, SimpleNamespace(job=SimpleNamespace(sweep=tmp_path)), "done", "ended")
    found = ProcessSearch(SimpleNamespace(), Board(0), print, lambda proposal: True, workers, 16, ("0", "1"))
    monkeypatch.setattr(found, "_end", lambda trial, worker: None)
    assert workers.idle == [0, 1]
    write_need(tmp_path, 0, Need(20 * 2**30, 80 * 2**30))
    found._handle(ended)
    assert workers.idle == [0, 1, 2, 3]
    assert (
        "a job has used 20.0 GiB of 80.0 GiB on a GPU: 4 processes at a time on 2 GPUs" in capsys.readouterr().err
    )
    write_need(tmp_path, 1, Need(60 * 2**30, 80 * 2**30))
    found._handle(ended)  # those that have begun go on
    assert len(workers.idle) == 4 and not capsys.readouterr().err
    assert len(make_workers(16, tmp_path, ()).idle) == 16  # on a CPU


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[int, str]:
    """The hash of each trial, of the same search without processes."""
    cwd = tmp_path_factory.mktemp("whole")
    alone = ["sweep.workers=1" if word == "sweep.processes=2" else word for word in SEARCH]
    process = start(cwd, *alone)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return {number: summary["hash"] for number, summary in summaries(cwd / "s").items()}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trial_whose_process_is_killed_goes_on_in_another_one(tmp_path, whole):
    process = start(tmp_path, *SEARCH)
    wait_until(process, lambda: has_checkpoint(tmp_path / "s"))
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0 and "was killed (SIGKILL)" in err and "goes on in another process" in err, err
    assert {n: summary["hash"] for n, summary in summaries(tmp_path / "s").items()} == whole


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trial_whose_process_is_killed_twice_has_failed_with_its_reason(tmp_path):
    long = [word.replace("steps=60", "steps=200") for word in SEARCH]
    process = start(tmp_path, *long)
    lock, killed = tmp_path / "s" / "0" / "lock", [0]

    def holder() -> int:
        return int(lock.read_text() or 0) if lock.exists() else 0

    for _ in range(2):
        wait_until(process, lambda: holder() not in killed)
        killed.append(holder())
        os.kill(killed[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1 and "job 0: its process was killed (SIGKILL)" in out, err
    assert sorted(summaries(tmp_path / "s")) == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_search_that_is_ended_goes_on_with_the_same_command(tmp_path, number, whole):
    process = start(tmp_path, *SEARCH)
    wait_until(process, lambda: has_checkpoint(tmp_path / "s"))
    process.send_signal(number)
    process.communicate(timeout=200)
    again = start(tmp_path, *SEARCH)
    _, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert {n: summary["hash"] for n, summary in summaries(tmp_path / "s").items()} == whole
    assert resumed(tmp_path / "s")
