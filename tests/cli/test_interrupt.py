"""Processes that receive a signal save, print how to continue, and continue bit for bit."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = ("data=iris", "data.split_seed=7", "model=linear", "batch_size=16", "log_every=50")
LONG = (*WORDS, "schedule=one_cycle", "eval_every=10ep", "checkpoint_every=1h", "runtime.platform=cpu")


def start(*words: str, cwd: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "dltrain", *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(run: Path, process: subprocess.Popen) -> None:
    """Wait until the run has trained some steps."""
    end = time.monotonic() + 90
    while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for_jax(process: int) -> None:
    """Wait until the process imports jax: its first lines have run by then."""
    maps = Path(f"/proc/{process}/maps")
    if not maps.exists():
        time.sleep(1.5)
        return
    end = time.monotonic() + 60
    while "jaxlib" not in maps.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def stopped(dltrain, tmp_path_factory):
    """Two runs, stopped by SIGINT and by SIGTERM; while the first trained, others started in its folder."""
    cwd = tmp_path_factory.mktemp("stopped")
    words = (*LONG, "steps=1000000")
    first = start(*words, "output_dir=a run", cwd=cwd)
    second = start(*words, "output_dir=b", cwd=cwd)
    found = {}
    try:
        wait_for_step(cwd / "a run", first)
        for who, words in {"intruder": ("data=iris", "output_dir=a run"), "resumer": ("resume", "a run")}.items():
            found[who] = (first.pid, dltrain(*words, cwd=cwd))
        first.send_signal(signal.SIGINT)
        wait_for_step(cwd / "b", second)
        second.send_signal(signal.SIGTERM)
        found["a run"] = (*first.communicate(timeout=60), first.returncode)
        found["b"] = (*second.communicate(timeout=60), second.returncode)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    return cwd, found


@pytest.mark.parametrize(("name", "word", "code"), [("a run", "SIGINT", 130), ("b", "SIGTERM", 143)])
def test_a_signal_saves_and_prints_how_to_continue(stopped, name, word, code):
    cwd, found = stopped
    out, err, returned = found[name]
    assert returned == code
    typed = "'a run'" if name == "a run" else name
    match = re.fullmatch(
        r"dltrain: stopping after this chunk; again to quit now\n"
        rf"dltrain: interrupted by {word}: saved at step (\d+); continue with: dltrain resume {typed}\n",
        err,
    )
    assert match, err
    assert "Traceback" not in out and not (cwd / name / "summary.json").exists()
    assert [p.name for p in (cwd / name / "checkpoints").glob("step_*")][-1] == f"step_{int(match[1]):08d}"


@pytest.mark.parametrize("who", ["intruder", "resumer"])
def test_a_folder_in_use_is_refused_with_7_naming_the_holder(stopped, who):
    holder, result = stopped[1][who]
    assert result.code == 7
    assert re.fullmatch(rf"dltrain: a run is in use by process {holder}; .*\n", result.err), result.err
    assert result.out == ""


def test_what_was_stopped_is_resumed_to_the_bits_of_a_run_left_alone(stopped, dltrain, tmp_path, monkeypatch):
    cwd, found = stopped
    monkeypatch.setattr("dltrain.report.finish.draw", lambda *args, **options: None)
    steps = {name: int(re.search(r"step (\d+)", found[name][1])[1]) for name in ("a run", "b")}
    for name, step in steps.items():
        result = dltrain("resume", name, f"steps={step + 150}", cwd=cwd)
        assert result.code == 0, result.err
        assert json.loads((cwd / name / "summary.json").read_text())["steps"] == step + 150
    # The schedule was planned for a million steps, so the run left alone must be, too.
    monkeypatch.setattr("dltrain.trainer.make_callbacks", ended_at(steps["a run"] + 150))
    result = dltrain(*LONG, "steps=1000000", "output_dir=straight", cwd=tmp_path)
    assert result.code == 0, result.err
    hashes = [json.loads((f / "summary.json").read_text())["hash"] for f in (cwd / "a run", tmp_path / "straight")]
    assert hashes[0] == hashes[1]


def ended_at(step: int):
    """The callbacks of a training that ends as planned at this step."""
    from dltrain import trainer
    from dltrain.durations import Duration
    from dltrain.engine.events import Every, StopTraining

    make = trainer.make_callbacks

    def stop(event):
        if event.step >= step:
            raise StopTraining("far enough")

    def callbacks(*args, **options):
        found, saver = make(*args, **options)
        return [*found, Every(Duration(step, ""), stop, per_epoch=1)], saver

    return callbacks


def test_a_second_signal_stops_at_once(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "from dltrain.callbacks.signals import Signals\n"
        "with Signals().caught():\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        time.sleep(0.05)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # the chunk in hand may end
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT


def test_a_key_that_a_wrapper_passes_on_twice_is_one_signal(tmp_path):
    code = (
        "import os, signal\n"
        "from dltrain.callbacks.signals import Signals\n"
        "signals = Signals(advice='; resume it')\n"
        "with signals.caught():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print(signals.received.name, flush=True)\n"
        "    signals._first -= 1\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print('not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGHUP, "SIGHUP\n")
    assert done.stderr.splitlines() == [
        "dltrain: stopping after this chunk; again to quit now",
        "dltrain: quit without saving; resume it",
    ]


def test_an_interrupt_before_training_leaves_with_130_and_without_a_traceback(tmp_path):
    process = start("data=iris", "output_dir=run", "quiet=true", cwd=tmp_path)
    wait_for_jax(process.pid)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err and err.startswith("dltrain: interrupted")


def test_an_interrupt_that_a_library_swallows_ends_the_command_before_it_trains(tmp_path):
    code = (
        "import signal, sys\n"
        "from dltrain.cli import execute, main as cli\n"
        "check = execute.check_environment\n"
        "def swallow():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        check()\n"
        "execute.check_environment = swallow\n"
        "sys.argv = ['dltrain', 'data=iris', 'epochs=1', 'output_dir=run']\n"
        "sys.exit(cli.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 130 and done.stderr.endswith("\ndltrain: interrupted\n")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_an_interrupt_that_a_library_turns_into_another_error_is_still_an_interrupt(tmp_path):
    code = (
        "import signal, sys\n"
        "from dltrain.cli import main as cli\n"
        "def swallow(folders):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "    raise AttributeError('half made')\n"
        "cli.read_tree = swallow\n"
        "sys.argv = ['dltrain', 'list']\n"
        "sys.exit(cli.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "dltrain: interrupted\n")


def test_an_interrupted_start_does_not_wait_for_what_libraries_do_at_the_end(tmp_path):
    """Interrupted C++ libraries have been seen to hang and to crash there."""
    code = (
        "import atexit, signal, sys, time\n"
        "from dltrain.cli import main as cli\n"
        "atexit.register(time.sleep, 600)\n"
        "cli.read_tree = lambda folders: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['dltrain', 'list']\n"
        "print('written', end='')\n"
        "sys.exit(cli.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "written", "dltrain: interrupted\n")


def test_an_interrupt_inside_jaxs_garbage_collection_is_not_lost(tmp_path):
    """In a separate process, since the collector's callbacks of test tools would be interrupted, too."""
    code = (
        "import gc, signal, time\n"
        "from dltrain.cli import faults\n"
        "def _xla_gc_callback(phase, info):\n"  # what a function of this name raises, Python swallows
        "    gc.callbacks.remove(_xla_gc_callback)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, faults.interrupt)\n"
        "gc.callbacks.append(_xla_gc_callback)\n"
        "try:\n"
        "    gc.collect()\n"
        "    time.sleep(5)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout == "interrupted\n", done.stderr
