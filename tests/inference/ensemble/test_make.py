"""`dltrain ensemble` measures members and ensemble on examples that no member was trained on."""

import re

import numpy as np
import pytest

from dltrain.inference.ensemble import make
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.ensemble.saved import read_ensemble

pytestmark = pytest.mark.slow  # trains on another worker what test_ensemble.py has trained


def test_the_table_has_each_run_their_mean_and_the_ensemble(made):
    text, results = made.printed["seeds"], read_ensemble(made.folder / "seeds").results
    for split in ("validation", "test"):
        table = text.partition(f"{split}, ")[2].partition("\n\n")[0].splitlines()
        assert [re.split(r"  +", line)[0] for line in table[2:]] == [
            *(run.path.name if run.path.name != "0" else "0" for run in made.seeds.runs),
            "mean ± std of the runs",
            "ensemble",
            "with the temperature",
        ]
        members = [run.evaluate(split) for run in made.seeds.runs]
        for found, expected in zip(results[split]["members"], members, strict=True):
            assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
            assert found["accuracy"] == pytest.approx(expected["accuracy"])
        both = [expected["loss"] for expected in members]
        assert f"{np.mean(both):.4f} ± {np.std(both, ddof=1):.4f}" in table[4]
        plain = Ensemble(made.seeds.folder, made.seeds.runs).evaluate(split)
        assert results[split]["ensemble"]["loss"] == pytest.approx(plain["loss"], rel=1e-5)
        assert results[split]["calibrated"]["loss"] == pytest.approx(made.seeds.evaluate(split)["loss"], rel=1e-5)
        assert results[split]["ensemble"]["accuracy"] == results[split]["calibrated"]["accuracy"]
    assert "judge the ensemble" not in text  # none was left out


def test_the_temperature_is_fitted_on_validation(made):
    saved = read_ensemble(made.folder / "seeds")
    assert saved.calibration.of == "validation"
    assert saved.calibration.examples == saved.results["validation"]["examples"]
    before, after = saved.calibration.log_loss
    assert after <= before == pytest.approx(saved.results["validation"]["ensemble"]["log_loss"], rel=1e-5)
    assert after == pytest.approx(saved.results["validation"]["calibrated"]["log_loss"], rel=1e-5)


def test_folds_are_calibrated_out_of_fold_and_measured_on_test(made):
    saved, text = read_ensemble(made.folder / "folds"), made.printed["folds"]
    assert set(saved.results) == {"out-of-fold", "test"} and len(saved.members) == 2
    assert saved.calibration.of == "out-of-fold"
    each = [len(made.folds.split_of(i, "validation")) for i in range(2)]
    assert saved.calibration.examples == saved.results["out-of-fold"]["examples"] == sum(each)
    mean = sum(run.evaluate("validation")["accuracy"] * n for run, n in zip(made.folds.runs, each, strict=True))
    assert saved.results["out-of-fold"]["ensemble"]["accuracy"] == pytest.approx(mean / sum(each))
    assert "all are taken, not the best 1" in text and "out_of_fold.csv" in text


def test_runs_with_other_validation_examples_are_measured_on_test_alone(made, dltrain, tmp_path):
    """Two folds, and one of them again: each validation example was in the training set of another run."""
    runs = [str(made.folder / name) for name in ("sweep", "seed")]
    result = dltrain("ensemble", *runs, f"output={tmp_path}")
    assert result.code == 0, result.err
    saved = read_ensemble(tmp_path)
    assert (saved.folds, saved.calibration, saved.temperature, list(saved.results)) == (0, None, 1.0, ["test"])
    assert "different validation examples: not used" in result.err and "so none is done" in result.err
    assert not (tmp_path / "out_of_fold.csv").exists() and len(saved.members) == 3
    result = dltrain("ensemble", *runs, f"output={tmp_path}")
    assert result.code == 2 and "has an ensemble; overwrite=true replaces it" in result.err
    result = dltrain("ensemble", *runs, f"output={tmp_path}", "overwrite=true", "top=1")
    assert result.code == 0 and "these are the best 1 of 3 runs by validation/" in result.out
    assert len(read_ensemble(tmp_path).members) == 1


def test_what_cannot_be_an_ensemble_ends_with_a_message(made, dltrain, digits_run, tmp_path):
    runs = [str(made.folder / "seed"), str(digits_run.folder)]
    result = dltrain("ensemble", *runs, f"output={tmp_path / 'out'}")
    assert result.code == 2 and "cannot be averaged with" in result.err and not (tmp_path / "out").exists()
    result = dltrain("ensemble", runs[0], f"output={runs[0]}")
    assert result.code == 2 and "is a run folder; name another one" in result.err
    assert dltrain("ensemble").code == 2
    for command in ("serve", "export", "explain"):
        result = dltrain(command, str(made.folder / "seeds"))
        first = made.seeds.runs[0].path
        assert result.code == 2 and f"use its first one: dltrain {command} {first}" in result.err, command
    result = dltrain("evaluate", str(made.folder / "seeds"), "checkpoint=last")
    assert result.code == 2 and "checkpoint=last" in result.err


def test_no_temperature_is_used_where_none_is_best(made):
    """All validation examples are right: the log loss falls for ever."""
    notes = []
    maker = make._Maker(made.seeds, notes, folds=0)
    targets = maker._targets("validation")
    right = np.where(targets == 1, 3.0, -3.0).astype(np.float32)[:, None]
    assert maker.calibration({"validation": [right]}, None) is None
    assert "has no minimum" in notes[0] and "none is used" in notes[0]
