"""The best runs by what they monitored; failed ones are left out and named."""

import json
import shutil

import pytest

from dltrain.errors import ConfigError
from dltrain.inference.ensemble.choose import choose, folds_of, shares, value_of
from dltrain.runs.sealed import read_sealed, seal

pytestmark = pytest.mark.slow  # trains on another worker what test_ensemble.py has trained


def with_value(run, place, value, monitor=None):
    """Copy the folder of a run, without its checkpoints, with another value of the monitored metric."""
    folder = shutil.copytree(run.path, place, ignore=shutil.ignore_patterns("checkpoints", "report"))
    summary = read_sealed(folder / "summary.json")
    split, _, name = summary["monitor"].partition("/")
    summary["best"][split][name] = value
    if monitor:
        summary["monitor"] = monitor
    (folder / "summary.json").write_text(json.dumps(seal(summary)))
    return folder


@pytest.fixture(scope="module")
def several(made, tmp_path_factory):
    place = tmp_path_factory.mktemp("several")
    values = {"worst": 0.5, "best": 0.9, "middle": 0.7, "unknown": None}
    return {name: with_value(made.runs["seed"], place / name, value) for name, value in values.items()}


def test_the_best_come_first_and_the_rest_is_left_out(several):
    found = choose([several["worst"], several["best"], several["middle"]], top=2)
    assert [record.path.name for record in found.records] == ["best", "middle"]
    assert found.higher_is_better == (found.monitor.partition("/")[2] != "loss") and not found.notes
    assert [value_of(record) for record in found.records] == [0.9, 0.7] and found.among == 3


def test_runs_without_a_result_are_left_out_and_named(several, tmp_path):
    (tmp_path / "empty").mkdir()
    unfinished = shutil.copytree(several["worst"], tmp_path / "unfinished")
    (unfinished / "summary.json").unlink()
    damaged = shutil.copytree(several["worst"], tmp_path / "damaged")
    (damaged / "summary.json").write_text("{")
    found = choose([tmp_path / "empty", unfinished, damaged, several["unknown"], several["worst"]], top=5)
    assert [record.path.name for record in found.records] == ["worst"]
    for name, why in zip(
        ("empty", "unfinished", "damaged", "unknown"),
        ("config.yaml is missing", "has not finished", "is damaged", "has no finite"),
        strict=True,
    ):
        assert any(name in note and why in note for note in found.notes), (name, found.notes)
    with pytest.raises(ConfigError, match="none of 1 runs has a result"):
        choose([unfinished], top=5)


def test_runs_that_monitored_different_metrics_cannot_be_ordered(several, made, tmp_path):
    other = with_value(made.runs["seed"], tmp_path / "other", 0.3, monitor="validation/loss")
    with pytest.raises(ConfigError, match="monitored different metrics"):
        choose([several["best"], other], top=5)


def test_all_folds_of_one_cross_validation_are_taken_in_their_order(made):
    folder = made.folder
    found = choose([folder / "sweep/1", folder / "sweep/0"], top=1)
    assert found.folds == 2 and [r.path.name for r in found.records] == ["0", "1"]
    assert "all are taken" in found.notes[0]
    assert not shares(found.records, "validation") and shares(found.records, "test")


def test_two_runs_of_one_fold_or_a_missing_fold_are_no_cross_validation(made):
    records = {name: choose([run.path], top=1).records[0] for name, run in made.runs.items()}
    assert folds_of([records["sweep/0"], records["sweep/1"]]) == 2
    assert folds_of([records["sweep/0"], records["seed"]]) == folds_of([records["sweep/0"]]) == 0
    assert shares([records["sweep/0"], records["seed"]], "validation")
