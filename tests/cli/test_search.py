"""A search from the command line: run folders, pruning, going on, and mistakes."""

import json
import shutil

import pytest

from dltrain.runs.sealed import read_sealed, seal
from dltrain.sweep.study import open_study

pytestmark = pytest.mark.usefixtures("quickly_compiled")

RATE = "optim.learning_rate=interval(1e-3,1)"
SMALL = ("-m", "data=iris", "data.split_seed=7", "model=linear", "epochs=3", "batch_size=32", "quiet=true")
LOSS = "sweep.objectives=[validation/loss]"


def trials(folder) -> dict:
    """Job -> its trial."""
    manifest = json.loads((folder / "search.json").read_text())
    study, _ = open_study(None, folder, name=manifest["study"], directions=manifest["directions"], pruner="none")
    return {t.user_attrs["job"]: t for t in study.trials if "job" in t.user_attrs}


def summaries(folder) -> dict:
    return {int(path.parent.name): json.loads(path.read_text()) for path in folder.glob("*/summary.json")}


@pytest.fixture(scope="module")
def searched(dltrain, tmp_path_factory):
    """Eight trials, of which ASHA stops some."""
    cwd = tmp_path_factory.mktemp("search")
    words = (*SMALL, "sweep=asha", "sweep.trials=8", "sweep.workers=4", LOSS, RATE, "output_dir=s")
    return cwd / "s", dltrain(*words, cwd=cwd, figures=False), words


def test_each_trial_is_a_run_and_its_value_that_of_the_run(searched):
    folder, result, _ = searched
    assert result.code == 0, result.err
    found, runs = trials(folder), summaries(folder)
    assert sorted(found) == sorted(runs) == [*range(8)]
    for number, trial in found.items():
        (word,) = trial.user_attrs["words"]
        config = json.loads((folder / str(number) / "overrides.yaml").read_text())["overrides"]
        assert word in config and not any(w.startswith("sweep=") for w in config)
        if trial.state.name == "COMPLETE":
            assert trial.value == runs[number]["best"]["validation"]["loss"]
            assert [*trial.intermediate_values] == [1, 2, 3]
    assert not (folder / ".jobs").exists() and "8 runs" in result.out


def test_a_pruned_trial_is_a_finished_run_that_says_why(searched, dltrain):
    folder, _, _ = searched
    pruned = {n: t for n, t in trials(folder).items() if t.state.name == "PRUNED"}
    runs = summaries(folder)
    assert 0 < len(pruned) < 8
    for number, trial in pruned.items():
        assert runs[number]["stop_reason"] == trial.user_attrs["reason"]
        assert trial.user_attrs["reason"].startswith("pruned: validation/loss ")
        assert runs[number]["steps"] < max(run["steps"] for run in runs.values())
    number = min(pruned)
    assert dltrain("hash", str(folder / str(number))).code == 0


def test_the_same_command_goes_on_and_trains_only_what_is_missing(searched, dltrain, tmp_path):
    folder, _, words = searched
    copy = shutil.copytree(folder, tmp_path / "s")
    before = {n: (copy / str(n) / "summary.json").stat().st_mtime_ns for n in range(8)}
    more = [word.replace("trials=8", "trials=9") for word in words]
    result = dltrain(*more, cwd=tmp_path, figures=False)
    assert result.code == 0 and sorted(summaries(copy)) == [*range(9)], result.err
    assert before == {n: (copy / str(n) / "summary.json").stat().st_mtime_ns for n in range(8)}
    other = dltrain(*words, "epochs=4", cwd=tmp_path, figures=False)
    assert other.code == 2 and "holds another search (fixed differ" in other.err


def test_a_run_that_ended_before_it_was_told_is_not_trained_again(searched, dltrain, tmp_path):
    """As after SIGKILL between the end of a run and its line in the journal; one job had not ended."""
    folder, _, words = searched
    copy = shutil.copytree(folder, tmp_path / "s")
    lines = (copy / "study.journal").read_text().splitlines(keepends=True)
    ends = [n for n, line in enumerate(lines) if json.loads(line)["op_code"] == 6]  # SET_TRIAL_STATE_VALUES
    kept = [line for n, line in enumerate(lines) if n not in ends[-2:]]
    (copy / "study.journal").write_text("".join(kept))
    left = [number for number, trial in trials(copy).items() if not trial.state.is_finished()]
    assert len(left) == 2
    (copy / str(left[0]) / "summary.json").unlink()
    times = {n: (copy / str(n) / "config.yaml").stat().st_mtime_ns for n in range(8)}
    assert dltrain(*words, cwd=tmp_path, figures=False).code == 0
    trained = [n for n in range(8) if (copy / str(n) / "config.yaml").stat().st_mtime_ns != times[n]]
    assert trained == left[:1] and all(trial.state.is_finished() for trial in trials(copy).values())
    assert sorted(summaries(copy)) == [*range(8)]
    started = json.loads((copy / str(left[0]) / "overrides.yaml").read_text())
    assert len(started["resumed"]) == 1 and started["resumed"][0]["step"] > 0  # from its checkpoint
    again = trials(copy)[left[0]].intermediate_values
    assert [*again] == [1, 2, 3]  # also if it had been stopped at the first: evaluations are counted on


def test_a_search_whose_yaml_has_changed_is_refused(searched, dltrain, tmp_path, monkeypatch):
    folder, _, words = searched
    copy = shutil.copytree(folder, tmp_path / "s")
    (tmp_path / "yaml" / "model").mkdir(parents=True)
    for hidden, code in ((8, 0), (16, 2)):
        text = f"# Mine\n_target_: dltrain.models.mlp.MLP\nwidths: [{hidden}]\n"
        (tmp_path / "yaml" / "model" / "mine.yaml").write_text(text)
        more = ("--config-dir", "yaml", "model=mine", "sweep=random", "sweep.trials=1", "output_dir=mine", RATE)
        result = dltrain(*SMALL, *more, cwd=tmp_path, figures=False)
        assert result.code == code, result.err
    assert "what its overrides stand for has changed since this search began" in result.err
    manifest = read_sealed(copy / "search.json")
    (copy / "search.json").write_text(json.dumps(seal({**manifest, "version": "0.0.1"})))
    result = dltrain(*words, cwd=tmp_path, figures=False)
    assert result.code == 0 and "began with dltrain 0.0.1" in result.err


def test_the_best_trial_satisfies_the_constraints(dltrain, tmp_path):
    words = ("sweep=random", "sweep.trials=2", "model=mlp", "model.widths=[4],[64]", "epochs=1", "output_dir=s")
    result = dltrain(*SMALL, *words, "sweep.constraints=['parameters<=100']", cwd=tmp_path, figures=False)
    assert result.code == 0 and "2 runs, 1 infeasible" in result.out, result.err
    found = {trial.user_attrs["words"][0]: trial.constraints for trial in trials(tmp_path / "s").values()}
    assert found["model.widths=[4]"] == {"parameters<=100": -65.0}  # 4 * (4 + 1) + 3 * (4 + 1) = 35
    assert found["model.widths=[64]"]["parameters<=100"] > 0
    assert "widths:\n  - 4\n" in (tmp_path / "s" / "experiment" / "best.yaml").read_text()


@pytest.mark.slow
def test_a_combination_that_cannot_be_composed_is_a_failed_trial(dltrain, tmp_path):
    words = (*SMALL, "epochs=1", "optim=adam,sgd", "optim.eps=choice(1e-6)")
    result = dltrain(*words, "sweep=random", "sweep.trials=4", "output_dir=s", cwd=tmp_path, figures=False)
    found = trials(tmp_path / "s")
    reasons = [trial.user_attrs.get("reason", "") for trial in found.values() if trial.state.name == "FAIL"]
    assert result.code == 2 and len(found) == 2 and len(reasons) == 1
    assert all("optim.eps: unknown" in reason for reason in reasons)


def test_the_sweeper_named_dltrain_is_a_search(dltrain, tmp_path):
    words = (*SMALL, "hydra/sweeper=dltrain", RATE, "dry_run=true")
    result = dltrain(*words, "sweep=random", "sweep.workers=1", cwd=tmp_path)
    assert result.code == 0 and "dry run: 1 of the first 1 trials can be trained" in result.out, result.err
    result = dltrain(*SMALL, "hydra/sweeper=dltrain", "seed=1,2", "dry_run=true", cwd=tmp_path)
    assert result.code == 0 and "dry run: 2 of 2 jobs can be trained" in result.out, result.err


def test_a_dry_run_checks_the_first_trials_and_writes_nothing(dltrain, tmp_path):
    result = dltrain(*SMALL, "sweep=tpe", "sweep.workers=1", RATE, "dry_run=true", cwd=tmp_path)
    assert result.code == 0 and "dry run: 1 of the first 1 trials can be trained" in result.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "sweep=tep", RATE), "sweep=tep: no such choice; did you mean tpe?"),
        (("-m", "sweep=bayesian", RATE), "did you mean tpe?"),
        (("-m", "sweep=tpe"), "nothing to search"),
        (("-m", "sweep=tpe,random", RATE), "one value of each of its own settings"),
        (("sweep=tpe", "data=iris"), "type dltrain -m sweep=tpe"),
        (("-m", "sweep=tpe", "optim.learning_rate=interval(0,1)"), "must be a finite number > 0"),
        (("-m", "sweep=tpe", "model.dropout=interval(0,1.5)"), "model.dropout=1.5: must be"),
        (("-m", "sweep=tpe", "batch_size=interval(8.5,64)"), "both ends must be whole numbers"),
        (("-m", "sweep=tpe", "optim.learning_rate=interval(1e-5)"), "right would be interval(1e-5,1e-1)"),
        (("-m", "sweep=tpe", RATE, "hydra/sweeper=basic", "sweep.storage=x.db"), "must be a URL"),
        (("-m", "sweep=tpe", RATE, "sweep.pruner=asha", "sweep.objectives=[parameters]"), "pruning compares"),
        (("-m", "sweep=tpe", RATE, "sweep.constraints=['parametrs<9']"), "did you mean parameters?"),
        (("-m", "seed=1,2", "sweep.constraints=['test/f3<9']"), "test/f3 is not computed"),
        (("-m", "sweep=tpe", RATE, "sweep.trials=0"), "sweep.trials=0: must be a whole number"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(dltrain, tmp_path, words, message):
    result = dltrain(*words, cwd=tmp_path)
    assert result.code == 2 and message in result.err, result.err
    assert not list(tmp_path.iterdir())
