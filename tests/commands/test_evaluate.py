"""Evaluating a run prints the metrics of its summary, for any checkpoint and split."""

import json
import re
import shutil

import pytest

from dltrain.report import finish
from dltrain.runs import checkpoint

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def run(dltrain, tmp_path_factory):
    """A quiet run whose best checkpoint is its first."""
    cwd = tmp_path_factory.mktemp("evaluated")
    words = ("data=iris", "model=linear", "epochs=6", "eval_every=3ep", "optim.learning_rate=0.05", "quiet=true")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "draw", lambda *args: None)
        result = dltrain(*words, "output_dir=run", cwd=cwd)
    assert result.code == 0, result.err
    found = [json.loads(line) for line in (cwd / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = (row["accuracy"] for row in found if row["split"] == "validation")
    assert first > last, "the fixture's learning rate must be chosen anew"
    return cwd / "run"


def numbers(text: str, split: str) -> dict[str, float]:
    line = re.search(rf"^{split} +(\d+) examples  (.*)$", text, re.MULTILINE)
    return dict(zip(line[2].split()[::2], map(float, line[2].split()[1::2]), strict=True))


def test_it_prints_the_metrics_of_the_summary(dltrain, digits_run):
    result = dltrain("evaluate", str(digits_run.folder), "split=all", figures=False)
    assert result.code == 0 and result.err == ""
    assert result.out.startswith(f"{digits_run.folder}, checkpoint of step {digits_run.summary['best_step']}\n")
    for split in ("validation", "test"):
        best = {n: v for n, v in digits_run.summary["best"][split].items()}
        assert numbers(result.out, split) == pytest.approx(best, abs=5e-5)
    assert re.search(r"^train +1294 examples", result.out, re.MULTILINE)


def test_the_test_split_is_evaluated_by_default(dltrain, run):
    result = dltrain("evaluate", str(run), figures=False)
    lines = re.findall(r"^(\S+) +\d+ examples  loss", result.out, re.MULTILINE)
    assert lines == ["test"]  # although the run was quiet


@pytest.mark.slow
def test_a_checkpoint_is_chosen_by_best_last_or_step(dltrain, run):
    summary = json.loads((run / "summary.json").read_text())
    steps = checkpoint.steps(run / "checkpoints")
    assert (summary["best_step"], summary["steps"]) == (steps[0], 12) and len(steps) == 2
    losses = {}
    for wanted in ("best", "last", steps[0], 12):
        result = dltrain("evaluate", str(run), f"checkpoint={wanted}", "split=validation", figures=False)
        assert result.code == 0, result.err
        losses[wanted] = (result.out.splitlines()[0].split()[-1], numbers(result.out, "validation")["loss"])
    assert losses["best"] == losses[steps[0]] and losses["last"] == losses[12] != losses["best"]
    assert losses["last"][1] == pytest.approx(summary["validation"]["loss"], abs=5e-5)
    assert losses["best"][1] == pytest.approx(summary["best"]["validation"]["loss"], abs=5e-5)
    result = dltrain("evaluate", str(run), "checkpoint=7")
    assert result.code == 4
    assert f"has checkpoints of the steps {steps[0]}, 12" in result.err


def test_other_metrics_may_be_asked_for(dltrain, run):
    result = dltrain("evaluate", str(run), "metrics=[accuracy,log_loss]", "split=validation", figures=False)
    assert result.code == 0, result.err
    assert set(numbers(result.out, "validation")) == {"loss", "accuracy", "log_loss"}


def test_a_damaged_checkpoint_is_left_with_a_warning_and_the_previous_one_is_used(dltrain, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    first, last = checkpoint.steps(folder / "checkpoints")
    file = max((folder / f"checkpoints/step_{last:08d}").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    result = dltrain("evaluate", str(folder), "checkpoint=last", figures=False)
    assert result.code == 0
    assert f"checkpoint step_{last:08d} is damaged" in result.err and "it is not used" in result.err
    assert checkpoint.steps(folder / "checkpoints") == [first, last]
    assert result.out.splitlines()[0].endswith(f"checkpoint of step {first}")
    (folder / f"checkpoints/step_{first:08d}/manifest.json").write_text("{}")
    result = dltrain("evaluate", str(folder))
    assert result.code == 4 and "has no usable checkpoint" in result.err


def test_what_cannot_be_evaluated_is_refused(dltrain, run, tmp_path):
    for words, message in (
        ((), "evaluate: name one run folder"),
        (("nowhere",), "nowhere: folder not found; RUN is the run folder that training printed"),
        ((str(tmp_path),), "not a run folder"),
        ((str(run), "split=tets"), "split=tets: must be one of train, validation, test, all"),
        (
            (str(run), "model=mlp"),
            "model._target_: dltrain.models.linear.Linear -> dltrain.models.mlp.MLP: the weights",
        ),
    ):
        result = dltrain("evaluate", *words)
        assert result.code in (2, 4) and message in result.err and "Traceback" not in result.err, words
        assert "internal error" not in result.err


@pytest.mark.slow
def test_the_results_are_in_the_run_or_in_a_folder_of_choice(dltrain, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "evaluation/test").mkdir(parents=True, exist_ok=True)
    (folder / "evaluation/test/roc.png").write_text("of another checkpoint")
    result = dltrain("evaluate", str(folder), "figures=false")
    assert result.code == 0, result.err
    there = {path.name for path in (folder / "evaluation/test").iterdir()}
    assert there == {"metrics.json", "metrics.csv", "classes.csv", "worst.csv", "confused.csv"}
    assert f"intervals, tables and figures are in {folder / 'evaluation/test'}\n" in result.out
    assert "by class\n" in result.out and "overall\n" in result.out
    assert "evaluation/test/metrics.json" in (folder / "written.txt").read_text().splitlines()
    result = dltrain("evaluate", str(folder), "figures=false", "split=all", f"output={tmp_path / 'out'}")
    assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test", "train", "validation"]
    assert "by class" not in result.out  # of several splits, tables are only written
    saved = json.loads((tmp_path / "out/test/metrics.json").read_text())["metrics"]
    assert saved == json.loads((folder / "evaluation/test/metrics.json").read_text())["metrics"]


def test_a_link_in_the_place_of_the_results_is_not_followed(dltrain, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    (tmp_path / "outside").mkdir()
    shutil.rmtree(folder / "evaluation", ignore_errors=True)
    (folder / "evaluation").symlink_to(tmp_path / "outside")
    result = dltrain("evaluate", str(folder), "figures=false")
    assert result.code == 0 and numbers(result.out, "test")
    assert "writes through no link" in result.err and "output=FOLDER writes the results elsewhere" in result.err
    assert not list((tmp_path / "outside").iterdir())


def test_a_folder_of_choice_that_cannot_be_written_is_an_error(dltrain, run, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = dltrain("evaluate", str(run), "figures=false", f"output={tmp_path / 'file' / 'inside'}")
    assert result.code == 6 and "cannot write" in result.err and "Traceback" not in result.err


def test_other_data_is_evaluated_as_a_whole(dltrain, run, tmp_path):
    """Of a data set that is built in there is no other; a table has one."""
    lines = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(60)]
    for name, some in (("train", lines[:40]), ("more", lines[40:])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,y,kind", *some]) + "\n")
    words = ("data=table", "data.path=train.csv", "data.target=kind", "model=linear", "epochs=1", "quiet=true")
    assert dltrain(*words, "output_dir=run", cwd=tmp_path, figures=False).code == 0
    result = dltrain("evaluate", "run", "data.path=more.csv", "figures=false", cwd=tmp_path)
    assert result.code == 0, result.err
    assert re.search(r"^more\.csv    20 examples  loss ", result.out, re.MULTILINE)
    saved = json.loads((tmp_path / "run/evaluation/other-more.csv/metrics.json").read_text())
    assert saved["split"] is None and saved["data"].endswith("more.csv") and saved["examples"] == 20
    result = dltrain("evaluate", "run", "data.path=more.csv", "split=train", cwd=tmp_path)
    assert result.code == 2 and "split=train: more.csv is not divided" in result.err
    result = dltrain("evaluate", str(run), "tta=flip")
    assert result.code == 2 and "tta=flip: mirrors images, and the inputs of this run are a table" in result.err
