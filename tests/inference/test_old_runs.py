"""A run folder that version 0.1 wrote can be used: this and every later version reads it.

`tests/files/run_0_1` holds the run, its data, and the predictions that this version made. It is not written again;
a version that reads it otherwise needs a version number of its own in `model.json`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import dltrain as package
from dltrain.errors import DataError

OLD = Path(__file__).parents[1] / "files" / "run_0_1"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old") / "run"
    shutil.copytree(OLD / "run", folder)
    return package.open_run(folder)


def test_it_predicts_what_it_predicted(run, tmp_path):
    run.predict_file(OLD / "houses.csv", str(tmp_path / "predictions.csv"))
    found, expected = pl.read_csv(tmp_path / "predictions.csv"), pl.read_csv(OLD / "predictions.csv")
    assert found.columns == expected.columns
    assert found["id"].to_list() == expected["id"].to_list()
    assert found["class"].to_list() == expected["class"].to_list()
    np.testing.assert_allclose(found["probability_large"], expected["probability_large"], rtol=1e-4)


def test_it_evaluates_to_the_metrics_of_its_summary(run):
    with np.load(run.path / "splits.npz") as splits:
        rows = pl.read_csv(OLD / "houses.csv")[splits["test"].tolist()]
    found, summary = run.evaluate(inputs=rows, targets=rows["kind"].to_list()), run.summary["best"]["test"]
    assert set(summary) <= set(found)
    for name, value in summary.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_what_needs_its_data_says_so(run):
    with pytest.raises(DataError, match=r"evaluate needs the data of .*houses.csv.*evaluate\(inputs="):
        run.evaluate("test")
    assert json.loads((run.path / "model.json").read_text())["version"] == 1
