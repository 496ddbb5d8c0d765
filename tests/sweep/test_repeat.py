"""Repeated trainings from Python, and after an interruption."""

import json
import shutil

import pytest

import dltrain as package
from dltrain.composition.compose import compose_words
from dltrain.runs.repeat import Repeat, forget, read_repeat
from dltrain.sweep import repeat as repeats
from dltrain.sweep.groups import SweepJob
from dltrain.sweep.measure import Choice
from dltrain.sweep.plan import write_configs, write_places

pytestmark = pytest.mark.usefixtures("quickly_compiled")
SMALL = ("data=iris", "data.split_seed=7", "model=linear", "steps=2", "quiet=true")


def test_what_is_repeated_is_written_and_read(tmp_path):
    repeat = Repeat("crossval", (0, 1, 2))
    assert repeat.words() == ["data.folds=3", "data.fold=0,1,2"] and read_repeat(tmp_path) is None
    repeat.write(tmp_path, {"monitor": "validation/loss"})
    assert read_repeat(tmp_path) == repeat
    forget(tmp_path)
    assert read_repeat(tmp_path) is None and Repeat("seeds", (3, 4)).words() == ["seed=3,4"]


@pytest.mark.slow
def test_a_failed_fold_ends_no_other(monkeypatch, tmp_path, dltrain):
    make = repeats._job

    def spoilt(repeat, words, folder, i, config_dir):
        return make(
            repeat, [*words, *(["optim=sgd", "optim.learning_rate=3e38"] if i == 1 else [])], folder, i, config_dir
        )

    monkeypatch.setattr(repeats, "_job", spoilt)
    found = package.crossval(*SMALL, folds=3, output_dir=str(tmp_path / "cv"))
    assert sorted(found.jobs) == [0, 2] and list(found.missing) == [1] and found.ensemble is None
    assert found.spread("validation", "loss").count == 2
    assert json.loads((tmp_path / "cv" / "crossval.json").read_text())["missing"].keys() == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [2, 1])
def test_a_resumed_cross_validation_ends_as_an_uninterrupted_one(lanes, dltrain, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "dltrain.sweep.train.choose_lanes", lambda program, **about: Choice(about["begun"] or lanes, 2, "as tested")
    )
    whole = dltrain("crossval", "folds=2", *SMALL, "output_dir=cv", cwd=tmp_path)
    stopped = tmp_path / "stopped"
    shutil.copytree(tmp_path / "cv", stopped)
    shutil.rmtree(stopped / "1")
    Repeat("crossval", (0, 1)).write(stopped)
    jobs = []
    for i in range(2):
        words = (*SMALL, "data.folds=2", f"data.fold={i}")
        jobs.append(SweepJob(i, words, stopped / str(i), f"data.fold={i}", compose_words(*words), stopped))
    write_configs(stopped, jobs)
    write_places(stopped, lanes, {0: 0, 1: lanes - 1})
    note = {"number": 0, "folder": str(stopped / "0"), "code": 0, "dry": False, "ended": True, "reason": ""}
    (stopped / ".jobs" / "0.json").write_text(json.dumps(note))
    again = dltrain("-m", "--resume", "stopped", cwd=tmp_path)
    assert whole.code == again.code == 0, again.err
    saved = [json.loads((tmp_path / name / "crossval.json").read_text()) for name in ("cv", "stopped")]
    assert saved[0]["validation"] == saved[1]["validation"] and saved[0]["out_of_fold"] == saved[1]["out_of_fold"]
