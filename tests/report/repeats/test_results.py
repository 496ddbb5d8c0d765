"""Means and intervals of runs that repeat one training, and what is missing."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dltrain.report.console import Screen
from dltrain.report.repeats import results
from dltrain.report.repeats.table import print_metrics, print_runs
from dltrain.report.sweeps.jobs import Job
from dltrain.runs.repeat import Repeat

ACCURACIES = (0.9, 0.8, 0.85)


@pytest.fixture
def read(monkeypatch, tmp_path):
    """A function that reads three runs, of which `failed` has no results."""

    def read(command: str, failed: int | None = None) -> results.Repeated:
        def job(path: Path, name: str) -> Job:
            if int(name) == failed:
                return Job(path, name, (), {}, failure="the loss is not finite")
            best = {
                "validation": {"accuracy": ACCURACIES[int(name)]},
                "test": {"accuracy": ACCURACIES[int(name)] - 0.1},
            }
            return Job(path, name, (), {"monitor": "validation/accuracy", "best": best})

        monkeypatch.setattr(results, "read_job", job)
        monkeypatch.setattr(results, "_examples", lambda path: {"train": 80, "validation": 40, "test": 30})
        return results.read_repeated(Repeat(command, (0, 1, 2)), tmp_path, [tmp_path / str(n) for n in range(3)])

    return read


def test_folds_have_a_corrected_interval_on_validation_and_none_on_test(read):
    found = read("crossval").spread("validation", "accuracy")
    error = np.std(ACCURACIES, ddof=1) * np.sqrt(1 / 3 + 40 / 80)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 2, np.mean(ACCURACIES), error))
    assert read("crossval").spread("test", "accuracy").interval is None


def test_seeds_have_students_interval_on_both_splits(read):
    found = read("seeds")
    expected = stats.t.interval(0.95, 2, np.mean(ACCURACIES), stats.sem(ACCURACIES))
    assert found.spread("validation", "accuracy").interval == pytest.approx(expected)
    assert found.spread("test", "accuracy").interval == pytest.approx(np.array(expected) - 0.1)


def test_a_failed_run_is_named_and_left_out(read, capsys):
    found = read("crossval", failed=1)
    assert found.missing == {1: "the loss is not finite"} and found.to_json()["missing"].keys() == {"1"}
    assert found.spread("validation", "accuracy").mean == pytest.approx((0.9 + 0.85) / 2)
    print_runs(Screen(), found)
    out = capsys.readouterr().out
    assert "2 of 3 folds" in out and "fold 1 is missing: the loss is not finite" in out


def test_the_table_names_the_lowest_and_the_highest_run(read, capsys):
    print_metrics(Screen(), read("seeds"))
    out = capsys.readouterr().out
    assert "0.8000 (seed 1)  0.9000 (seed 0)" in out and "Student's t" in out
