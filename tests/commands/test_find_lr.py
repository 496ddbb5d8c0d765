"""`dltrain find-lr`: what is printed and written, and that no run is changed."""

import csv
import json
import re
import shlex

import numpy as np
import pytest
import yaml

from dltrain.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("quickly_compiled")
SMALL = ("model.widths=[16]", "batch_size=100", "rates=30")


@pytest.fixture(scope="module")
def found(dltrain, quickly, tmp_path_factory):
    """The command in an empty folder, with a learning rate that it replaces."""
    folder = tmp_path_factory.mktemp("find")
    with quickly():
        return folder, dltrain(
            "find-lr", *SMALL, "optim.learning_rate=0.1", "lowest=1e-5", "name=my test", cwd=folder
        )


def test_the_printed_command_trains_with_the_recommended_rate(found, dltrain):
    folder, result = found
    assert result.code == 0, result.err
    rate = re.search(r"^take    (\w+), the middle one: optim\.learning_rate=(\S+)$", result.out, flags=re.M)
    command = shlex.split(re.search(r"^next    (dltrain .*)$", result.out, flags=re.M)[1])
    assert command == ["dltrain", *SMALL[:2], "name=my test", f"optim.learning_rate={rate[2]}"]
    config = yaml.safe_load(dltrain(*command[1:], "--cfg", "job", cwd=folder).out)
    assert config["optim"]["learning_rate"] == float(rate[2]) and config["model"]["widths"] == [16]
    suggested = {float(one) for one in re.findall(r"^(?:valley|steepest|minimum) +(\S+)", result.out, flags=re.M)}
    assert sorted(suggested)[1] == float(rate[2])


def test_the_curve_is_written_as_json_and_csv_with_a_figure(found):
    folder, _ = found
    written = folder / "find-lr" / "my test"
    assert sorted(path.name for path in written.iterdir()) == [
        f"learning_rates.{end}" for end in ("csv", "json", "png")
    ]
    about = json.loads((written / "learning_rates.json").read_text())
    rows = list(csv.DictReader((written / "learning_rates.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    for name in ("learning_rate", "loss", "smoothed_loss"):
        assert [float(row[name]) for row in rows] == about[name]
    np.testing.assert_allclose(about["learning_rate"], np.geomspace(1e-5, 10, 30)[: len(rows)], rtol=1e-5)
    assert about["recommended"] in about["suggestions"] and about["overrides"][0] == SMALL[0]


def test_a_run_whose_weights_are_taken_is_not_changed(found, dltrain, digits_run, tmp_path):
    files = {path: path.read_bytes() for path in digits_run.folder.rglob("*") if path.is_file()}
    result = dltrain("find-lr", *SMALL, f"init_from={digits_run.folder}", "output=here", cwd=tmp_path)
    assert result.code == 0, result.err
    assert {path: path.read_bytes() for path in digits_run.folder.rglob("*") if path.is_file()} == files
    scratch, trained = (
        json.loads((path / "learning_rates.json").read_text())["loss"][0]
        for path in (found[0] / "find-lr" / "my test", tmp_path / "here")
    )
    assert trained < 0.5 * scratch


def test_nothing_is_written_into_the_folder_of_a_run(dltrain, tmp_path):
    RunFolder(tmp_path / "run").mark()
    for output in ("run", "run/report/more"):
        result = dltrain("find-lr", f"output={output}", cwd=tmp_path)
        assert result.code == 2 and "run is the folder of a run, which is not changed" in result.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["written.txt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("somewhere",), "somewhere: dltrain find-lr takes group=choice and key=value only"),
        (("rates=5",), "rates=5: must be a whole number from 10 to 10000"),
        (("lowest=0",), "lowest=0: must be a finite number > 0"),
        (("lowest=1", "highest=0.1"), "lowest=1 highest=0.1: lowest must be below highest"),
        (("min_lr=1",), "min_lr: unknown; did you mean lowest (now 1e-07)?"),
        (("num_it=1",), "num_it: unknown; did you mean rates (now 100)?"),
        (("optim=lbfgs", "batch_size=all"), "by a line search"),
        (("optim=adamm",), "optim=adamm: no such choice; did you mean adam"),
        (("output=file",), "output=file: is a file; name a folder"),
    ],
)
def test_a_mistake_exits_with_2_before_anything_is_written(dltrain, tmp_path, words, message):
    (tmp_path / "file").touch()
    result = dltrain("find-lr", "data=iris", *words, cwd=tmp_path)
    assert result.code == 2 and message in result.err, result.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
