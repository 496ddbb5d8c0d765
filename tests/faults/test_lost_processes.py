"""A random process of a run is killed at a random moment, or in a save, again and again: nothing saved is lost."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from dltrain.runs import checkpoint
from tests.helpers.processes import LIMIT, LONG, SMALL, Processes, processes, steps_saved, wait_for

KILLS = int(os.environ.get("KILLS", "20"))
PACE = ("checkpoint_every=200", "eval_every=1000")  # so that many kills come during a save


@pytest.mark.faults
@pytest.mark.timeout(60 * KILLS)
def test_others_end_and_the_run_goes_on_after_each_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, dice, slowest, newest = tmp_path / "run", random.Random(0), 0.0, 0
    words = (*LONG, *PACE, f"output_dir={run}")
    during = 0
    for number in range(KILLS):
        count = dice.choice((2, 3))
        with processes(count, *words, output=tmp_path / str(number), heartbeat=5) as running:
            wait_for(run, running, after=newest)
            time.sleep(dice.uniform(0, 1))
            killed = dice.randrange(count)
            running.started[killed].send_signal(signal.SIGKILL)
            began = time.monotonic()
            during += any(path.name.startswith(".writing") for path in (run / "checkpoints").iterdir())
            others = [one.wait(30) for rank, one in enumerate(running.started) if rank != killed]
            slowest = max(slowest, time.monotonic() - began)
            assert others == [9] * (count - 1), [running.printed(rank) for rank in range(count)]
        whole = [
            step for step in steps_saved(run) if not checkpoint.problems(run / "checkpoints" / f"step_{step:08d}")
        ]
        assert whole[-1] > newest
        newest = whole[-1]
        words = ("resume", str(run))
    with capsys.disabled():
        print(f"\n{KILLS} kills, {during} during a save: 0 lost; the others ended after at most {slowest:.1f} s")


# Large enough for a save to take a while. Both processes write, since each has a half of the layers.
SAVING = (
    *(*SMALL, "model.widths=[512,512]", "runtime.mesh={fsdp: 2}", "log_every=100", "eval_every=1000"),
    *("steps=600", "checkpoint_every=5"),
)


def wait_for_draft(checkpoints: Path, running: Processes, old: set[str]) -> Path:
    """Wait until a checkpoint is being written, and return its draft, which is not an old one."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        if checkpoints.is_dir():
            for name in os.listdir(checkpoints):
                if name.startswith(checkpoint.DRAFT) and name not in old:
                    return checkpoints / name
        if ended := [i for i, one in enumerate(running.started) if one.poll() is not None]:
            raise AssertionError(f"process {ended[0]} ended: {running.printed(ended[0])}")
        time.sleep(0.001)
    raise AssertionError("no save")


def intact(run: Path) -> list[int]:
    """The steps of the checkpoints whose files match their manifests."""
    found = run / "checkpoints"
    return [s for s in steps_saved(run) if not checkpoint.problems(found / checkpoint.name_of(s))]


@pytest.mark.faults
@pytest.mark.timeout(120 * KILLS + 600)
def test_kills_in_a_save_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with processes(
        2, *SAVING, f"output_dir={tmp_path}/clean/run", output=tmp_path / "clean", heartbeat=5
    ) as running:
        assert running.wait() == [0, 0], running.printed(0)
    expected = json.loads((tmp_path / "clean/run/summary.json").read_text())["hash"]
    run, dice, slowest, newest, tries, kills = tmp_path / "run", random.Random(1), 0.0, 0, 0, 0
    words, old = (*SAVING, f"output_dir={run}"), set[str]()
    while kills < KILLS:
        tries += 1
        with processes(2, *words, output=tmp_path / str(tries), heartbeat=5) as running:
            if not newest or dice.random() < 0.5:
                wait_for(run, running, after=newest)
            draft = wait_for_draft(run / "checkpoints", running, old)
            time.sleep(dice.uniform(0, 0.1))
            killed = dice.randrange(2)
            running.started[killed].send_signal(signal.SIGKILL)
            kills += draft.exists()  # else it was committed before
            began = time.monotonic()
            assert running.started[1 - killed].wait(30) == 9, running.printed(1 - killed)
            slowest = max(slowest, time.monotonic() - began)
            assert f"process {killed}" in running.printed(1 - killed).splitlines()[-1]
        whole = intact(run)
        assert whole == steps_saved(run) and whole[-1] >= newest
        newest, old = whole[-1], set(os.listdir(run / "checkpoints"))  # its draft is deleted at the next start
        words = ("resume", str(run))
    with processes(2, *words, output=tmp_path / "last", heartbeat=5) as running:
        assert running.wait() == [0, 0], running.printed(0)
    assert json.loads((run / "summary.json").read_text())["hash"] == expected
    assert not [name for name in os.listdir(run / "checkpoints") if name.startswith(checkpoint.DRAFT)]
    with capsys.disabled():
        print(f"\n{kills} kills in a save of {tries}: 0 lost; the other ended after at most {slowest:.1f} s")
