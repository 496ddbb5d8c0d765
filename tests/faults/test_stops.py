"""SIGINT and SIGTERM lose no step, and a run resumed at each of its steps equals an uninterrupted one."""

import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

CUTTER = '''
import os


class Cut:
    """Sends this process a signal when step `at` is done."""

    def __init__(self, at: int, number: int) -> None:
        self.at, self.number = at, number

    def __call__(self, event) -> None:
        if event.step == self.at:
            os.kill(os.getpid(), self.number)
'''
CHOICE = "# Ends a run by a signal\ncut: {_target_: cutter.Cut, at: 0, number: 15, every: 1}\n"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def check_stop(err: str, code: int, number: int, folder: Path, saved, logged) -> int:
    """Check a run that a signal ended: exit code, message, and no step lost. Return the step."""
    assert code == CODES[signal.Signals(number)], err
    match = re.search(r"saved at step (\d+); continue with: dltrain resume run( .trust=\[cutter\].)?\n$", err)
    assert match, err
    step = int(match[1])
    assert saved(folder)[-1] == step
    assert [row["step"] for row in logged(folder) if row["split"] == "train"] == list(range(1, step + 1))
    return step


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "steps", [2, pytest.param(8, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.faults)]
)
def test_resumed_at_every_step_is_the_run_left_alone(
    steps, dltrain, start, words, tmp_path, monkeypatch, same, saved, logged, count
):
    """A signal at each step; every fourth is sent to a new process, the others to this one."""
    (tmp_path / "conf/callbacks").mkdir(parents=True)
    (tmp_path / "conf/callbacks/cut.yaml").write_text(CHOICE)
    (tmp_path / "cutter.py").write_text(CUTTER)
    monkeypatch.syspath_prepend(tmp_path)
    straight = dltrain(*words, f"steps={steps}", "output_dir=straight", "quiet=true", cwd=tmp_path, figures=False)
    assert straight.code == 0, straight.err
    own = ("--config-dir", "conf", "trust=[cutter]", "callbacks=cut")
    for step in range(1, steps):
        number = (signal.SIGTERM, signal.SIGINT)[step % 2]
        cut = (*own, f"callbacks.cut.at={step}", f"callbacks.cut.number={number:d}", "quiet=true")
        line = ("resume", "run", *cut) if step > 1 else (*words, f"steps={steps}", "output_dir=run", *cut)
        if step % 4 == 3:
            process = start(*line, cwd=tmp_path)
            err, code = process.communicate(timeout=60)[1], process.returncode
        else:
            result = dltrain(*line, cwd=tmp_path, figures=False)
            err, code = result.err, result.code
        count.tried += 1
        assert check_stop(err, code, number, tmp_path / "run", saved, logged) == step
        count.survived += 1
    result = dltrain("resume", "run", "callbacks=none", "quiet=false", cwd=tmp_path, figures=False)
    assert result.code == 0 and f"resumed run at step {steps - 1}\n" in result.out, result.err
    summary = dltrain("hash", "straight", cwd=tmp_path)
    same(tmp_path / "run", SimpleNamespace(folder=tmp_path / "straight", hash=summary.out.split()[0]))


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_signals_at_random_instants_lose_no_step(
    start, words, tmp_path, rng, tries, count, clean, same, saved, logged
):
    """A signal before training exits with 130 and loses nothing: there is nothing to lose yet."""
    for i in range(tries(20)):
        cwd = tmp_path / str(i)
        cwd.mkdir()
        number = rng.choice([signal.SIGINT, signal.SIGTERM])
        process = start(*words, "steps=40", "output_dir=run", "quiet=true", cwd=cwd)
        while process.poll() is None and not saved(cwd / "run"):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3 * clean.seconds))
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
        if process.returncode == 0 or (cwd / "run/summary.json").exists():
            count.note(came_too_late=1)
        count.tried += 1
        if process.returncode in CODES.values() and "saved at step" in err:
            step = check_stop(err, process.returncode, number, cwd / "run", saved, logged)
            count.note(most_steps_lost=0, stopped_while_training=1)
            assert step <= 40
        done = start("resume", "run", cwd=cwd)
        err = done.communicate(timeout=60)[1]
        assert done.returncode == 0, err
        same(cwd / "run", clean)
        count.survived += 1
