"""What is read of a run folder for reports: everything that is there, and a named error for what is damaged."""

import json
import os
import shutil

import numpy as np
import pytest
from written_runs import write_run

from dltrain.errors import CheckpointError
from dltrain.inference.record import read_record
from dltrain.runs.folder import RunFolder


def test_a_trained_run_is_read_as_it_stands(digits_run):
    record = read_record(RunFolder(digits_run.folder))
    rows = [json.loads(line) for line in (digits_run.folder / "metrics.jsonl").read_text().splitlines()]
    assert record.rows == tuple(rows) and record.finished and not record.notes
    steps, losses = record.curves["loss"]["validation"]
    found = [(row["step"], row["loss"]) for row in rows if row["split"] == "validation"]
    assert list(zip(steps.tolist(), losses.tolist(), strict=True)) == found
    assert record.title == "digits · mlp"
    sizes = [np.prod(shape) for name, (_, shape) in record.arrays.items() if name.startswith("params.")]
    assert sum(sizes) == digits_run.summary["parameters"]


def test_the_results_are_those_of_the_summary(tmp_path):
    record = read_record(write_run(tmp_path / "run", 0.9))
    found = {(r.split, r.state): (r.step, r.metrics["accuracy"]) for r in record.results()}
    assert found == {
        ("test", "best"): (2, 0.9),
        ("test", "final"): (3, 0.65),
        ("validation", "best"): (2, 0.8),
        ("validation", "final"): (3, 0.7),
    }


def test_a_run_that_has_not_finished_is_read_also_while_it_writes_a_line(tmp_path):
    folder = write_run(tmp_path / "run", None)
    with folder.metrics.open("a") as file:
        file.write('{"step": 4, "spl')
    record = read_record(folder)
    assert not record.finished and record.steps == 3 and "has not finished" in record.notes[0]
    assert record.charted == ["loss", "accuracy"]


def test_what_is_missing_is_noted(tmp_path):
    folder = write_run(tmp_path / "run")
    folder.environment.unlink()
    assert read_record(folder).notes == ("environment.json is missing.",)


@pytest.mark.parametrize("name", ["summary.json", "data.json", "model.json", "metrics.jsonl", "overrides.yaml"])
def test_a_damaged_file_is_named(tmp_path, name):
    folder = write_run(tmp_path / "run")
    path = folder.path / name
    path.write_text(path.read_text().replace("e", "f", 1))
    with pytest.raises(CheckpointError, match=name):
        read_record(folder)


def test_damaged_rows_of_an_unfinished_run_are_an_error(tmp_path):
    folder = write_run(tmp_path / "run", None)
    folder.metrics.write_text("no row\n" + folder.metrics.read_text())
    with pytest.raises(CheckpointError, match="line 1 is not a row"):
        read_record(folder)


def test_evaluations_are_read_but_not_through_links(tmp_path):
    folder = write_run(tmp_path / "run")
    place = folder.path / "evaluation" / "test"
    place.mkdir(parents=True)
    (place / "metrics.json").write_text('{"split": "test"}')
    outside = tmp_path / "outside"
    shutil.copytree(place, outside)
    os.symlink(outside, folder.path / "evaluation" / "linked")
    assert read_record(folder).evaluations == {"test": {"split": "test"}}
