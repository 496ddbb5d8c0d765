"""`dltrain seeds`: runs that differ in their seed only, their spread, and the calibrated ensemble."""

import json

import numpy as np
import pytest
from scipy import stats

pytestmark = pytest.mark.usefixtures("quickly_compiled")
SMALL = ("data=iris", "data.split_seed=7", "model=mlp", "model.widths=[8]", "steps=6", "quiet=true")


@pytest.fixture(scope="module")
def seeds(dltrain, quickly, tmp_path_factory):
    """Three seeds of iris, from 5 on."""
    cwd = tmp_path_factory.mktemp("seeds")
    with quickly():
        return cwd / "s", dltrain("seeds", "count=3", "seed=5", *SMALL, "output_dir=s", cwd=cwd, figures=False)


@pytest.mark.slow
def test_the_interval_is_that_of_student_over_the_seeds(seeds):
    folder, result = seeds
    assert result.code == 0, result.err
    found = json.loads((folder / "seeds.json").read_text())
    assert [run["seed"] for run in found["runs"]] == [5, 6, 7]
    best = [json.loads((folder / str(n) / "summary.json").read_text())["best"] for n in range(3)]
    values = np.array([one["test"]["loss"] for one in best])
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert len(set(values)) == 3 and found["test"]["loss"]["interval"] == pytest.approx(list(expected))


@pytest.mark.slow
def test_the_runs_share_a_program_and_a_split(seeds):
    folder, result = seeds
    assert "jobs 0, 1, 2: 3 runs of one program" in result.out
    splits = [json.loads((folder / str(n) / "data.json").read_text())["splits"] for n in range(3)]
    assert splits[0] == splits[1] == splits[2]


@pytest.mark.slow
def test_the_ensemble_is_measured_next_to_its_runs(seeds):
    folder, result = seeds
    found = json.loads((folder / "seeds.json").read_text())
    saved = json.loads((folder / "ensemble" / "ensemble.json").read_text())
    assert len(saved["members"]) == 3 and saved["temperature"] == found["temperature"]
    assert found["ensemble_test"] == saved["results"]["test"]["ensemble"]
    assert "log_loss" in found["test"] and f"dltrain predict {folder}/ensemble" in result.out
    assert (folder / "report" / "seeds.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("count=1",), "count=1: must be a whole number ≥ 2"),
        (("seed=0,1",), "seed=0,1: several values"),
        (("seed=4294967295", "count=2"), "the last of 2 seeds"),
    ],
)
def test_a_mistake_is_said_once_before_anything_is_written(words, said, dltrain, tmp_path):
    result = dltrain("seeds", *SMALL, *words, cwd=tmp_path)
    assert result.code == 2 and said in result.err and len(result.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
