"""`runtime.elastic=true`: the same start goes on with a run, and launchers start what is left after a loss."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dltrain.api import fit
from dltrain.engine.loop import Loop
from dltrain.launchers import local
from tests.helpers.processes import COMPOSED, SMALL, losses, steps_saved
from tests.helpers.processes import ELASTIC as COMPOSED_ELASTIC

ELASTIC = (*SMALL, "steps=30", "checkpoint_every=10", "eval_every=10", "runtime.elastic=true")
pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture
def lost_after(dltrain, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Path], None]:
    """Train until a step, and die there without a word."""

    def lose(step: int, folder: Path) -> None:
        call = Loop._call

        def die(loop: Loop, event) -> None:
            if event.step >= step:  # of a chunk, whose length follows the time
                raise RuntimeError("lost")
            call(loop, event)

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_call", die)
            assert dltrain(*ELASTIC, f"output_dir={folder}", figures=False).code == 1

    return lose


@pytest.fixture(scope="module")
def whole(quickly_compiled: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(*ELASTIC, f"output_dir={tmp_path_factory.mktemp('whole')}/run", quiet=True).folder.path


@pytest.mark.parametrize("step", [5, 15])
def test_the_same_start_goes_on_with_a_run_that_was_lost(
    dltrain, lost_after, whole: Path, tmp_path: Path, step: int
) -> None:
    run = tmp_path / "run"
    lost_after(step, run)
    assert steps_saved(run) == ([10] if step == 15 else [])
    done = dltrain(*ELASTIC, f"output_dir={run}", figures=False)
    assert done.code == 0, done.err
    assert (f"resumed {run} at step 10" in done.out) == (step == 15)
    assert losses(run) == losses(whole) and len(losses(run)) == 30
    assert "elastic: false" in (run / "config.yaml").read_text()  # of a start, as runtime.hosts is


def test_a_run_that_has_ended_is_left_as_it_is(dltrain, whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    done = dltrain(*ELASTIC, f"output_dir={whole}")
    assert done.code == 0 and f"{whole} is finished: 30 of 30 steps" in done.out
    assert (whole / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model.widths=[8]",), "already contains a run with another config: model.widths: [16] -> [8]"),
        (("runtime.elastic=false",), "already contains a run; continue it with"),
        (("overwrite=true",), "would replace the run that runtime.elastic=true continues"),
        (("output_dir=null",), "runtime.elastic=true: name the run: output_dir=FOLDER"),
    ],
)
def test_another_run_is_not_continued(dltrain, whole: Path, words: tuple[str, ...], said: str) -> None:
    before = sorted(path.name for path in whole.iterdir())
    refused = dltrain(*ELASTIC, f"output_dir={whole}", *words, cwd=whole.parent)
    assert refused.code == 2 and said in refused.err
    assert sorted(path.name for path in whole.iterdir()) == before and len(list(whole.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "data=iris", "model=linear", "seed=0,1"), "a sweep is continued with"),
        (("find-lr", "data=iris", "model=linear"), "only dltrain and dltrain resume"),
    ],
)
def test_what_is_no_single_run_refuses_it(dltrain, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = dltrain(*words, "runtime.elastic=true", cwd=tmp_path)
    assert result.code == 2 and said in result.err


def launched(count: int, *words: str, cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dltrain", "launch", "local", f"processes={count}", *words]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    with (cwd / "shown.txt").open("wb") as shown:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdout=shown, stderr=shown)


def ranks(launcher: int) -> dict[int, int]:
    """Return the id of each process that a launcher has started, by its number."""
    found = {}
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in map(int, children):
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if place := next((word for word in words if word.startswith("runtime.hosts=")), ""):
            found[int(place.partition("index: ")[2].partition(",")[0])] = child
    return found


def wait_for_checkpoint(folder: Path, launcher: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not (folder / "checkpoints").is_dir() or not steps_saved(folder):
        assert launcher.poll() is None and time.monotonic() < until, (folder.parent / "shown.txt").read_text()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "kind"), [(2, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_processes_that_are_left_go_on_after_a_loss(tmp_path: Path, killed: int, kind: signal.Signals) -> None:
    """Four processes lose one: three are left, and two of them divide a batch of 16."""
    words = (*SMALL, "batch_size=16", "checkpoint_every=100", "log_every=100", "eval_every=1000", "steps=1000")
    words = (*words, "runtime=cpu", "runtime.heartbeat=5", "output_dir=run")
    launcher = launched(4, "--", *words, "runtime.elastic=true", cwd=tmp_path)
    try:
        wait_for_checkpoint(tmp_path / "run", launcher)
        os.kill(ranks(launcher.pid)[killed], kind)
        code = launcher.wait(240)
    finally:
        launcher.kill()
    shown = (tmp_path / "shown.txt").read_text()
    assert code == 0, shown
    assert f"launch: process {killed} of 4 was lost; start 2 goes on from the last checkpoint with 2" in shown
    assert "hosts   2 processes" in shown and f"0 | resumed {tmp_path}/run at step" in shown
    assert sorted(losses(tmp_path / "run")) == list(range(100, 1001, 100))


@pytest.mark.parametrize(
    ("restarts", "elastic", "starts", "said"),
    [
        (2, True, [4, 2, 1], "not started again (restarts=2)"),
        (9, True, [4, 2, 1], "cannot be divided among 0 or fewer"),
        (9, False, [4], ""),
    ],
)
def test_a_launcher_gives_up_after_its_restarts(
    monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path, restarts, elastic, starts, said
) -> None:
    """Each start loses one process; a batch of 4 has no use for three."""
    monkeypatch.chdir(tmp_path)
    counts = []

    def run(words, count: int, address: str, *, devices: int, graphics: int) -> local._Ended:
        counts.append(count)
        return local._Ended(137, [0])

    monkeypatch.setattr(local, "_run", run)
    config = {**(COMPOSED_ELASTIC if elastic else COMPOSED), "batch_size": 4}
    options = {"processes": 4, "devices": 1, "port": 0, "restarts": restarts}
    assert local.launch(["data=iris", "runtime=cpu"], options, config) == 137
    assert counts == starts and said in capsys.readouterr().out


def test_a_launch_that_was_told_to_end_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    counts = []
    monkeypatch.setattr(local, "_run", lambda words, count, address, **of: counts.append(count) or ended)
    config = {**COMPOSED_ELASTIC, "batch_size": 4}
    options = {"processes": 4, "devices": 1, "port": 0, "restarts": 3}
    for ended in (local._Ended(137, [0], told=True), local._Ended(143), local._Ended(3), local._Ended(0)):
        counts.clear()
        assert local.launch(["data=iris", "runtime=cpu"], options, config) == ended.code
        assert counts == [4]
