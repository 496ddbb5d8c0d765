"""The folds of a sweep share a program, in lanes or one after the other; each folder is that of a run alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from dltrain import training
from dltrain.sweep import together, train
from dltrain.sweep.measure import Choice

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SHORT = ("data=iris", "data.split_seed=7", "model=linear", "quiet=true", "eval_every=3", "steps=6", "data.folds=3")


def train_folds(dltrain, cwd: Path, lanes: int, *words: str, folds: str = "0,1,2") -> list[dict]:
    """Train folds, and return how often a program was built, with which parts."""
    prepared, prepare = [], training.prepare_run

    def counted(*given, **how):
        prepared.append(how)
        return prepare(*given, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "choose_lanes", lambda program, **about: Choice(lanes, 2, "as tested"))
        for module in (train, together):
            patch.setattr(module, "prepare_run", counted)
        result = dltrain("-m", *SHORT, f"data.fold={folds}", *words, f"output_dir={lanes}", cwd=cwd, figures=False)
    assert result.code == 0, result.err
    return prepared


@pytest.fixture(scope="module")
def swept(dltrain, quickly, tmp_path_factory):
    """Three folds in 2 lanes, one after the other, and the last one as a run alone."""
    cwd = tmp_path_factory.mktemp("folds")
    with quickly():
        for lanes in (2, 1):
            assert len(train_folds(dltrain, cwd, lanes)) == 1
        alone = dltrain(*SHORT, "data.fold=2", "output_dir=alone", cwd=cwd, figures=False)
    assert alone.code == 0, alone.err
    return cwd


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_each_fold_has_the_results_of_a_run_alone(swept):
    expected = summary_of(swept / "alone")
    for lanes in "12":
        found = summary_of(swept / lanes / "2")  # in lanes, it takes the place of a fold that has ended
        for split in ("validation", "test"):
            assert found[split] == pytest.approx(expected[split], rel=1e-5)
            assert found["best"][split] == pytest.approx(expected["best"][split], rel=1e-5)
        assert found["baselines"] == expected["baselines"] and found["monitor"] == expected["monitor"]
    assert len({summary_of(swept / "2" / n)["hash"] for n in "012"}) == 3


def test_each_fold_keeps_its_own_examples_and_preprocessing(swept):
    alone = swept / "alone"
    for lanes in "12":
        folder = swept / lanes / "2"
        for name in ("train", "validation", "test"):
            np.testing.assert_array_equal(
                np.load(folder / "splits.npz")[name], np.load(alone / "splits.npz")[name], err_msg=name
            )
        for file, key in (("model.json", "preprocess"), ("data.json", "splits")):
            found, expected = (json.loads((where / file).read_text()) for where in (folder, alone))
            assert found[key] == expected[key]
    scalings = [json.loads((swept / "2" / n / "model.json").read_text())["preprocess"] for n in "012"]
    assert scalings[0] != scalings[1] != scalings[2]


def test_the_folder_of_a_fold_is_used_like_that_of_a_run_alone(swept, dltrain):
    names = ",".join(f"{part} {size} (cm)" for part in ("sepal", "petal") for size in ("length", "width"))
    (swept / "new.csv").write_text(f"{names}\n5.1,3.5,1.4,0.2\n6.3,2.9,5.6,1.8\n")
    predicted = []
    for run in ("alone", "2/2", "1/2"):
        assert dltrain("predict", run, "input=new.csv", "output=found.csv", "overwrite=true", cwd=swept).code == 0
        predicted.append((swept / "found.csv").read_text().splitlines())
    values = [[[float(v) for v in line.split(",")[2:]] for line in lines[1:]] for lines in predicted]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-4)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-4)
    longer = [dltrain("resume", run, "steps=8", cwd=swept, figures=False) for run in ("2/2", "1/2")]
    assert [result.code for result in longer] == [0, 0], longer[0].err
    assert summary_of(swept / "2" / "2")["test"] == pytest.approx(summary_of(swept / "1" / "2")["test"], rel=1e-5)


@pytest.mark.parametrize(("lanes", "programs"), [(2, 1), pytest.param(1, 3, marks=pytest.mark.slow)])
def test_folds_and_numbers_share_a_program(dltrain, tmp_path, lanes, programs):
    """One after the other, there is one to try lanes, and one for each number."""
    momentum = ("optim=sgd", "optim.momentum=0.5,0.9")
    assert len(train_folds(dltrain, tmp_path, lanes, *momentum, folds="0,1")) == programs
    last = (momentum[0], "optim.momentum=0.9", "data.fold=1", "output_dir=alone")
    assert dltrain(*SHORT, *last, cwd=tmp_path, figures=False).code == 0
    expected, found = (summary_of(tmp_path / run) for run in ("alone", f"{lanes}/3"))
    for split in ("validation", "test"):
        assert found[split] == pytest.approx(expected[split], rel=1e-5)
    assert found["baselines"] == expected["baselines"]
    assert len({summary_of(tmp_path / f"{lanes}/{n}")["hash"] for n in range(4)}) == 4


def test_the_folds_of_a_search_share_a_program_that_is_built_for_the_first_trials(dltrain, tmp_path):
    search = ("sweep=random", "sweep.seed=1", "sweep.workers=2", "sweep.trials=4")
    assert len(train_folds(dltrain, tmp_path, 2, *search, "optim.learning_rate=interval(0.01,0.1)")) == 1
    configs = [yaml.safe_load((tmp_path / "2" / n / "config.yaml").read_text()) for n in "0123"]
    folds = [config["data"]["fold"] for config in configs]
    assert set(folds[2:]) - set(folds[:2])  # what the first trials needed is not all
    assert len({summary_of(tmp_path / "2" / n)["hash"] for n in "0123"}) == 4


@pytest.mark.slow
def test_folds_with_another_number_of_steps_per_epoch_are_jobs_of_their_own(dltrain, tmp_path):
    prepared = train_folds(dltrain, tmp_path, 2, "batch_size=80", "data.split=random", "data.test=0.193")
    sizes = [len(np.load(tmp_path / "2" / n / "splits.npz")["train"]) for n in "012"]
    assert sorted(sizes) == [80, 81, 81]
    assert len(prepared) == 2  # 80 examples are one step, 81 are two
    assert [summary_of(tmp_path / "2" / n)["epochs"] for n in "012"] == [6 if n == 80 else 3 for n in sizes]


@pytest.mark.slow
def test_a_fold_that_cannot_be_built_ends_no_other(dltrain, tmp_path):
    rows = [f"{i % 5},{i},{'rare' if i == 4 else 'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "few.csv").write_text("\n".join(["first,second,class", *rows, ""]))
    table = ("data=table", "data.path=few.csv", "data.target=class", "loss.class_weights=balanced", "data.test=0")
    words = [word for word in SHORT if not word.startswith("data=")]
    result = dltrain("-m", *words, *table, "data.fold=0,1,2", "output_dir=cv", cwd=tmp_path, figures=False)
    assert "no training example is of class rare" in result.err
    ended = [n for n in "012" if (tmp_path / "cv" / n / "summary.json").exists()]
    assert len(ended) == 2
