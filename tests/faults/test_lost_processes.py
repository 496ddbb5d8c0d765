"""A random process of a run is killed at a random moment, again and again: nothing saved is lost."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from dltrain.runs import checkpoint
from tests.helpers.processes import LONG, processes, steps_saved, wait_for

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
