"""What an evaluation writes: JSON and tables with the values of the run, and the figures that suit the task."""

import csv
import json

import numpy as np
import pytest

import dltrain as package
from dltrain.engine.evaluate import Evaluation
from dltrain.errors import ConfigError
from dltrain.inference.scores import Estimate, Resampling, Scores
from dltrain.inference.scores.scores import Part
from dltrain.report.console import Screen
from dltrain.report.evaluation import report_scores, tables
from dltrain.report.evaluation_table import print_scores

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def reported(digits_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores") / "here"
    return report_scores(package.open_run(digits_run.folder), "test", output=str(folder))


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_json_and_tables_have_the_values_of_the_run(reported, digits_run):
    found = json.loads((reported.folder / "metrics.json").read_text())
    best = digits_run.summary["best"]["test"]
    assert {name: of["value"] for name, of in found["metrics"].items()} == best
    assert (found["split"], found["examples"], found["step"]) == ("test", 359, digits_run.summary["best_step"])
    how = {"method": "", "resamples": 1000, "level": 0.95, "seed": 0, "resamples_of_areas": 1000}
    assert found["intervals"] | {"method": ""} == how
    table = {row["metric"]: row for row in rows(reported.folder / "metrics.csv")}
    for name, value in best.items():
        assert float(table[name]["value"]) == value
        assert float(table[name]["low"]) == found["metrics"][name]["low"] < value
    classes = rows(reported.folder / "classes.csv")
    assert [row["class"] for row in classes] == [str(k) for k in range(10)]
    matrix = np.array(found["arrays"]["confusion"])
    assert [float(row["recall"]) for row in classes] == pytest.approx((matrix.diagonal() / matrix.sum(1)).tolist())


def test_worst_and_confused_examples_are_listed(reported):
    worst, confused = (rows(reported.folder / f"{name}.csv") for name in ("worst", "confused"))
    losses = [float(row["loss"]) for row in worst]
    assert losses == sorted(losses, reverse=True) and len(worst) == 50
    found = reported.scores.evaluation
    assert int(worst[0]["example"]) == found.examples[found.losses.argmax()]
    matrix = found.arrays["confusion"]
    first = confused[0]
    assert int(first["count"]) == matrix[int(first["truth"]), int(first["predicted"])]
    assert int(first["count"]) == (matrix * (1 - np.eye(10))).max()


def test_figures_are_drawn(reported):
    drawn = {name for name in reported.files if name.endswith(".png")}
    assert drawn == {f"{n}.png" for n in "samples confusion_matrix roc precision_recall calibration".split()}
    assert all((reported.folder / name).stat().st_size > 5000 for name in drawn)


def test_a_file_is_no_folder_for_the_results(digits_run, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"output=.*file: is a file"):
        report_scores(package.open_run(digits_run.folder), "test", output=str(tmp_path / "file"))


def scores_of(names: list[str], **more) -> Scores:
    evaluation = Evaluation({"loss": 0.5}, {}, np.arange(3), np.ones(3))
    parts = [
        Part(name, {"examples": 1}, {"f1": Estimate(0.5, 0.25, 0.75), "auroc": Estimate(np.nan)}) for name in names
    ]
    return Scores(evaluation, Resampling(), {"loss": Estimate(0.5, 0.4, 0.6)}, kind="class", parts=parts, **more)


def test_undefined_values_are_empty_in_tables():
    found = tables(scores_of(["a,b"]))
    assert found["classes.csv"].splitlines()[1] == '"a,b",1,0.5,0.25,0.75,,,'
    flipped = tables(scores_of([], flipped={"loss": Estimate(0.3, 0.2, 0.4)}))["metrics.csv"]
    assert flipped.splitlines()[1] == "loss,0.5,0.4,0.6,0.3,0.2,0.4"


def test_only_the_first_classes_are_printed(capsys):
    print_scores(Screen(), scores_of([f"c{k}" for k in range(30)], flipped={"loss": Estimate(0.3, 0.2, 0.4)}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == "loss 0.5000 0.4000 to 0.6000 0.3000 0.2000 to 0.4000".split()
    assert "by class (the first 20 of 30; the file has all)" in lines
    assert lines[-1].split() == "c19 1 0.5000 0.2500 to 0.7500 -".split()
