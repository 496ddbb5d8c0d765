"""`dltrain crossval`: one run for each fold, the out-of-fold predictions, and the ensemble."""

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

pytestmark = pytest.mark.usefixtures("quickly_compiled")
SMALL = ("data=iris", "data.split_seed=7", "model=linear", "optim=adam", "optim.learning_rate=0.1", "steps=8")


@pytest.fixture(scope="module")
def folds(dltrain, quickly, tmp_path_factory):
    """Three folds of iris."""
    cwd = tmp_path_factory.mktemp("crossval")
    with quickly():
        return cwd / "cv", dltrain(
            "crossval", "folds=3", *SMALL, "quiet=true", "output_dir=cv", cwd=cwd, figures=False
        )


def results(folder) -> dict:
    return json.loads((folder / "crossval.json").read_text())


@pytest.mark.slow
def test_the_pooled_metrics_are_those_of_the_out_of_fold_predictions(folds):
    folder, result = folds
    assert result.code == 0, result.err
    with (folder / "out_of_fold.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth, predicted = ([row[name] for row in rows] for name in ("target", "class"))
    pooled = results(folder)["out_of_fold"]
    assert len(rows) == 120 and pooled["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert pooled["f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert pooled["accuracy"] > 0.6


@pytest.mark.slow
def test_each_metric_has_its_mean_and_deviation_over_the_folds(folds):
    folder, _ = folds
    best = [json.loads((folder / str(n) / "summary.json").read_text())["best"] for n in range(3)]
    for split in ("validation", "test"):
        values = np.array([one[split]["loss"] for one in best])
        found = results(folder)[split]["loss"]
        assert (found["mean"], found["deviation"]) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (found["interval"] is None) == (split == "test")  # the folds share the test examples


@pytest.mark.slow
def test_the_tables_and_the_next_command_are_printed(folds):
    folder, result = folds
    assert "3 folds, each run at its best state" in result.out
    assert "Nadeau and Bengio" in result.out and "√(1/3 + 0.5)" in result.out
    assert f"next    dltrain predict {folder}/ensemble input=FILE" in result.out
    figures = {path.name for path in (folder / "report").iterdir()}
    assert {"folds.png", "out_of_fold_confusion_matrix.png"} <= figures and not (folder / ".jobs").exists()


@pytest.mark.slow
def test_the_folds_are_left_as_an_ensemble(folds, dltrain):
    folder, _ = folds
    saved = json.loads((folder / "ensemble" / "ensemble.json").read_text())
    assert saved["folds"] == len(saved["members"]) == 3
    names = ",".join(f"{part} {size} (cm)" for part in ("sepal", "petal") for size in ("length", "width"))
    (folder.parent / "new.csv").write_text(f"{names}\n5.1,3.5,1.4,0.2\n")
    found = dltrain("predict", "cv/ensemble", "input=new.csv", "output=found.csv", cwd=folder.parent)
    assert found.code == 0, found.err
    assert "setosa" in (folder.parent / "found.csv").read_text().splitlines()[1]


@pytest.mark.slow
def test_compare_says_the_same_again_and_names_what_is_missing(folds, dltrain, tmp_path):
    folder, result = folds
    again = dltrain("compare", str(folder), cwd=tmp_path)
    begin = "3 folds, each run"
    assert again.code == 0 and again.out[again.out.index(begin) :] == result.out[result.out.index(begin) :]
    copy = tmp_path / "cv"
    shutil.copytree(folder, copy)
    (copy / "1" / "summary.json").unlink()
    part = dltrain("compare", str(copy), cwd=tmp_path)
    assert "2 of 3 folds" in part.out and "fold 1 is missing" in part.out and "no ensemble" in part.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("folds=1",), "folds=1: must be a whole number ≥ 2"),
        (("data.folds=3",), "set their number: folds=5"),
        (("data.fold=1",), "set their number: folds=5"),
        (("sweep=tpe",), "repeats one config"),
        (("folds=500",), "there are only 120 examples"),
        (("iris",), "takes group=choice and key=value only"),
    ],
)
def test_a_mistake_is_said_once_before_anything_is_written(words, said, dltrain, tmp_path):
    result = dltrain("crossval", *SMALL, *words, cwd=tmp_path)
    assert result.code in (2, 3) and said in result.err and len(result.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
