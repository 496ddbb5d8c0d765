"""What is said about the best config of a sweep."""

import statistics

import numpy as np
import pytest
from written_sweeps import outcome_of, write_sweep

from dltrain.report.sweeps.outcome import front_of
from dltrain.report.sweeps.table import as_csv, for_terminal


def test_the_best_of_several_is_called_optimistic_with_the_spread_of_the_others(tmp_path):
    jobs = [([f"optim.learning_rate={rate}"], score) for rate, score in ((0.1, 0.5), (0.2, 0.75), (0.3, 0.625))]
    tests = [0.5, 0.625, 0.25]
    found = outcome_of(tmp_path, write_sweep(tmp_path, jobs, tests=tests))
    (line,) = found.sentences()
    assert found.best.name == "1" and found.higher
    assert "Best of 3 configs by validation/accuracy: job 1 (optim.learning_rate=0.2) with 0.7500." in line
    assert "optimistic estimate" in line and "Its test accuracy is 0.6250" in line
    others = [0.5, 0.25]
    spread = f"{statistics.fmean(others):.4f} ± {statistics.stdev(others):.4f} (0.2500 to 0.5000)"
    assert f"the 2 others have {spread}." in line


def test_a_single_config_is_no_best_of_several(tmp_path):
    jobs = [(["model=mlp", f"seed={seed}"], 0.5 + seed / 4) for seed in (0, 1)]
    found = outcome_of(tmp_path, write_sweep(tmp_path, jobs))
    assert found.sentences() == [] and found.best.name == "1" and found.keys == {}


@pytest.mark.parametrize(("gap", "words"), [(0.5, "is larger than"), (0.01, "is not larger than")])
def test_seeds_tell_whether_the_best_two_differ(tmp_path, gap, words):
    noise = [0.0, 0.02, 0.04]
    jobs = [
        ([f"model={m}", f"seed={s}"], 0.3 + (gap if m == "b" else 0) + noise[s]) for m in "ab" for s in range(3)
    ]
    found = outcome_of(tmp_path, write_sweep(tmp_path, jobs, tests=[score for _, score in jobs]))
    assert len(found.sentences()) == 2
    assert f"differs by {gap:.4f}, which {words} the spread across their runs" in found.sentences()[1]


def test_a_job_that_violates_a_constraint_is_not_the_best(tmp_path):
    jobs = [([f"a={n}"], score) for n, score in enumerate((0.9, 0.5, 0.7))]
    about = {"parameters": [500, 50, 90], "constraints": ["parameters<=100"]}
    found = outcome_of(
        tmp_path, write_sweep(tmp_path, jobs, objectives=["validation/accuracy", "parameters"], **about)
    )
    assert [row.folders for row in found.rows] == ["2", "1", "0"] and found.best.name == "2" and found.higher
    assert "Best of 2 configs" in found.sentences()[0] and [job.name for job in found.front()] == ["2", "1"]
    columns, cells = for_terminal(found.rows)
    assert columns[-1].title == "violates"
    assert [line[-1] for line in cells] == ["", "", "parameters<=100 (is 500)"]
    assert as_csv(found.rows).splitlines()[-1].endswith(",0,parameters<=100 (is 500)")


def test_without_a_feasible_job_none_is_the_best(tmp_path):
    jobs = [(["a=1"], 0.9), (["a=2"], 0.5)]
    found = outcome_of(tmp_path, write_sweep(tmp_path, jobs, parameters=[5, 6], constraints=["parameters<1"]))
    assert found.best is None and found.ranked == [] and len(found.finished) == 2
    (line,) = found.sentences()
    assert line.startswith("No job satisfies sweep.constraints")


def test_the_front_holds_what_no_other_point_beats():
    values = np.array([[0.9, 100], [0.8, 10], [0.7, 50], [0.9, 200], [0.95, 500]])
    assert front_of(values, [True, False]) == [4, 0, 1]
    assert front_of(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 4.0]]), [False, False]) == [0, 2]
    assert front_of(values * [-1, 1], [False, False]) == [4, 0, 1]
