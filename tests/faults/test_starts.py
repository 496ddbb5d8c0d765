"""Many starts at once in one folder: one trains, the others name it."""

import re
import signal
import time

import pytest
from few import few

NAMES = re.compile(r"dltrain: run is in use by process (\d+); wait for it, or choose another output_dir\n")


@pytest.fixture
def race(start, tmp_path, words, count):
    """`race(n)` starts n runs at once in one folder; the one that trains is stopped when the others have ended."""

    def go(n: int) -> None:
        endless = (*words, "steps=1000000", "checkpoint_every=1h", "eval_every=100ep", "log_every=1000")
        (tmp_path / "run").mkdir()
        (tmp_path / "run/lock").write_text("999999999\n")  # of a process that is dead
        started = [start(*endless, "output_dir=run", "quiet=true", cwd=tmp_path) for _ in range(n)]
        while sum(p.poll() is None for p in started) > 1:
            time.sleep(0.05)
        (winner,) = (p for p in started if p.poll() is None)
        losers = [p for p in started if p is not winner]
        for process in losers:
            count.tried += 1
            err = process.communicate()[1]
            assert process.returncode == 7, err
            holder = NAMES.fullmatch(err)
            assert holder and int(holder[1]) == winner.pid, err
            count.survived += 1
        metrics = tmp_path / "run/metrics.jsonl"
        while winner.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.02)
        winner.send_signal(signal.SIGTERM)
        err = winner.communicate(timeout=60)[1]
        assert winner.returncode == 143 and "continue with: dltrain resume run" in err, err
        late = start(*endless, "output_dir=run", cwd=tmp_path)  # it is free now, but holds a run
        assert "already contains a run" in late.communicate(timeout=60)[1] and late.returncode == 2

    return go


@pytest.mark.timeout(150)
@few("n", [2, 4], 0)
def test_of_a_few_starts_at_once_one_trains(race, n):
    race(n)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_of_twenty_starts_at_once_one_trains(race, tries):
    race(tries(20))
