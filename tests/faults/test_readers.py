"""Whoever reads a run that is training disturbs nothing, and is told of no damage that is not there."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from dltrain.api import open_run
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.restore import load_best

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TRAINER = ("checkpoint_every=1", "eval_every=1", "log_every=1000", "quiet=true", "output_dir=run")
READ = """
import sys, time
from pathlib import Path
from dltrain.cli.main import main
until, count = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until or not count:
    for line in (["hash", "run"], ["verify", "run"], ["evaluate", "run"], ["hash", "run"], ["verify", "run"]):
        code = main(line)
        if code:
            sys.exit(f"ALARM {line} {code}")
        count += 1
print(f"read {count}", file=sys.stderr)
"""
TRAIN_AND_READ = """
import os, sys, threading, time
from pathlib import Path
from dltrain.api import open_run
from dltrain.cli.main import main
count, alarms, seconds, line = [0], [], float(sys.argv[1]), sys.argv[2:]


def read():
    while not list(Path("run/checkpoints").glob("step_*")):
        time.sleep(0.01)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        codes = main(["hash", "run"]), main(["verify", "run"])
        try:
            open_run("run").state
        except Exception as error:
            alarms.append(str(error))
        if any(codes):
            alarms.append(f"ALARM {codes}")
        count[0] += 3


def stop():
    for reader in readers:
        reader.join()
    os.kill(os.getpid(), 15)


readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
for thread in (*readers, threading.Thread(target=stop)):
    thread.start()
code = main(line)
if code != 143 or alarms:
    sys.exit(f"ALARM {code} {alarms}")
print(f"read {count[0]}", file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_readers_in_threads_next_to_a_training_run_hear_of_no_damage(dltrain, words, tmp_path, count):
    """The trainer saves at every step, and deletes the checkpoint before; the readers read whatever there is."""
    done, alarms, reads = threading.Event(), [], []

    def read() -> None:
        run = RunFolder(tmp_path / "run")
        while not checkpoint.steps(run.checkpoints) and not done.is_set():
            time.sleep(0.005)
        while not done.is_set():
            try:
                reads.append(checkpoint.load_last(run.checkpoints, warn=alarms.append).step)
                reads.append(load_best(run, warn=alarms.append).step)
                found = checkpoint.inspect_all(run.checkpoints)
                alarms.extend(wrong for wrong in found.values() if wrong)
                alarms.extend([] if found else ["no checkpoint"])
                reads.append(open_run(tmp_path / "run", checkpoint="last").step)
            except Exception as error:
                alarms.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        result = dltrain(*words, "steps=12", *TRAINER, cwd=tmp_path, figures=False)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert (result.code, result.err, alarms) == (0, "", [])
    assert len(set(reads)) > 1
    count.tried = count.survived = len(reads)
    assert not list((tmp_path / "run/checkpoints").glob(".deleting_*"))


def test_a_checkpoint_that_is_being_read_is_deleted_later(program, tmp_path):
    from dltrain.engine.state import named_leaves
    from dltrain.runs.readers import kept

    leaves = named_leaves(program.start())
    for step in (1, 2):
        checkpoint.save(tmp_path, step, leaves, {"best": None})
    with kept(tmp_path / "step_00000001/manifest.json") as there, kept(tmp_path / "step_00000001/manifest.json"):
        assert there
        checkpoint.prune(tmp_path, {2}, warn=pytest.fail)
        assert checkpoint.steps(tmp_path) == [1, 2] and checkpoint.load(tmp_path, 1).step == 1
    checkpoint.prune(tmp_path, {2}, warn=pytest.fail)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000002"]


def test_a_checkpoint_that_vanishes_while_it_is_read_is_not_called_damaged(program, tmp_path, monkeypatch):
    """Where a file system has no locks: the reader lists the checkpoints again."""
    from dltrain.engine.state import named_leaves

    for step in (1, 2):
        checkpoint.save(tmp_path, step, named_leaves(program.start()), {"best": None})
    problems, result = checkpoint.problems, []

    def vanish(path):
        if path.name == "step_00000002":
            shutil.rmtree(path)
        return problems(path)

    monkeypatch.setattr(checkpoint, "problems", vanish)
    assert checkpoint.load_last(tmp_path, warn=result.append).step == 1
    assert result == [] and checkpoint.inspect_all(tmp_path) == {1: []}


def check_readers(trainer: subprocess.Popen, readers: list[subprocess.Popen], count) -> None:
    for reader in readers:
        err = reader.communicate(timeout=300)[1]
        count.tried += 1
        assert reader.returncode == 0 and "damaged" not in err, err
        count.survived += 1
        count.note(reads=int(err.rsplit("read ", 1)[1]))
    assert trainer.poll() is None, trainer.stderr.read()
    trainer.send_signal(signal.SIGTERM)
    err = trainer.communicate(timeout=60)[1]
    assert trainer.returncode == 143, err


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_trainers_next_to_readers_in_processes(start, words, tmp_path, tries, count):
    """Ten trainers, three readers next to each: hash, verify and evaluate in turn, for six seconds."""
    for i in range(tries(10)):
        cwd = tmp_path / str(i)
        cwd.mkdir()
        trainer = start(*words, "steps=1000000", *TRAINER, cwd=cwd)
        while trainer.poll() is None and not list((cwd / "run/checkpoints").glob("step_*")):
            time.sleep(0.01)
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        command = [sys.executable, "-c", READ, "6"]
        with contextlib.ExitStack() as stack:
            readers = [
                stack.enter_context(subprocess.Popen(command, cwd=cwd, text=True, **streams)) for _ in range(3)
            ]
            check_readers(trainer, readers, count)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_trainers_next_to_readers_in_threads(words, tmp_path, tries, count):
    """Ten trainers, each with three readers in threads of its own process, for six seconds."""
    for i in range(tries(10)):
        cwd = tmp_path / str(i)
        cwd.mkdir()
        command = [sys.executable, "-c", TRAIN_AND_READ, "6", *words, "steps=1000000", *TRAINER]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200)
        count.tried += 3
        assert done.returncode == 0 and "damaged" not in done.stderr, done.stderr
        count.survived += 3
        count.note(reads=int(done.stderr.rsplit("read ", 1)[1]))
