"""Training from the command line: the files of a run, its output, and each engine key."""

import csv
import json
import re
import shlex
import shutil

import numpy as np
import pytest
import yaml
from few import few
from PIL import Image

from dltrain.composition.compose import amend_words, compose_words
from dltrain.config.folders import read_yaml
from dltrain.data.sources.embedded import load_embedded
from dltrain.devices import doctor as diagnosis
from dltrain.engine.state import state_hash
from dltrain.report import start
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder

IRIS = ("data=iris", "model=linear", "quiet=true", "output_dir=run")

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def last(folder) -> checkpoint.Checkpoint:
    return checkpoint.load_last(folder / "checkpoints", warn=pytest.fail)


@pytest.fixture
def iris(dltrain, tmp_path):
    """Train in tmp_path/run, and return the run folder."""

    def train(*words):
        result = dltrain(*IRIS, *words, cwd=tmp_path)
        assert result.code == 0, result.err
        return tmp_path / "run"

    return train


def test_the_run_folder_holds_everything_about_the_run(digits_run):
    names = {p.name for p in digits_run.folder.iterdir()}
    files = {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "data.json",
        "splits.npz",
        "model.json",
        "metrics.jsonl",
        "results.csv",
        "saved.json",
        "written.txt",
    }
    later = {"train.log", "evaluation"}  # which other tests of this shared run may have written
    assert names - later == files | {"summary.json", "report", "checkpoints", "tensorboard", "lock"}
    pictures = sorted((digits_run.folder / "report").iterdir())
    assert [p.name for p in pictures] == ["confusion_matrix.png", "curves.png", "samples.png"]
    for picture in pictures:
        with Image.open(picture) as image:
            assert min(image.size) > 200
            assert len(np.unique(np.asarray(image.convert("L")))) > 10, picture.name  # something is drawn
    assert not [p for p in digits_run.cwd.iterdir() if p.name != "größe"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model.activation=step", "model.activation=step: its gradient is zero everywhere, .* train with sigmoid"),
        ("model.activation={_target_:dltrain.activations.sign}", "model.activation=sign: .* train with tanh"),
        ("model=autoencoder model.code_activation=sign", "model.code_activation=sign: its gradient is zero"),
        ("model=gan model.discriminator_activation=step", "model.discriminator_activation=step: its gradient is"),
        ("model=gan model.output=step", "model.output=step: its gradient is zero"),
    ],
)
def test_an_activation_that_keeps_layers_from_learning_is_refused(words, message, dltrain, tmp_path):
    found = dltrain(*words.split(), "output_dir=run", cwd=tmp_path)
    assert found.code == 2 and re.search(message, found.err), found.err
    assert not (tmp_path / "run").exists()


def test_a_run_with_such_an_activation_can_still_be_read():
    saved = compose_words("model.activation=tanh").config
    saved["model"]["activation"] = "sign"  # as a version that did not look would have left it
    assert amend_words(saved).config["model"]["activation"] == "sign"


def test_the_config_saved_is_the_config_used(digits_run):
    saved = read_yaml(digits_run.folder / "config.yaml")
    assert (saved["epochs"], saved["batch_size"], saved["model"]["widths"]) == (2, 100, [16])
    assert saved["loss"]["_target_"] == "dltrain.losses.cross_entropy"  # auto is decided
    started = read_yaml(digits_run.folder / "overrides.yaml")
    assert "model.widths=[16]" in started["overrides"] and started["choices"]["model"] == "mlp"
    versions = json.loads((digits_run.folder / "environment.json").read_text())["versions"]
    assert {"dltrain", "python", "jax", "flax", "optax", "numpy"} <= set(versions)
    data = json.loads((digits_run.folder / "data.json").read_text())
    assert data["examples"] == {"train": 1294, "validation": 144, "test": 359}
    saved = json.loads((digits_run.folder / "model.json").read_text())
    assert saved["spec"]["targets"]["target"]["vocabulary"] == [str(i) for i in range(10)]
    assert len(saved["preprocess"]["inputs"]["image"][0]["fitted"]["shift"]) == 1


def test_the_environment_is_kept_with_all_that_doctor_prints(digits_run):
    kept = json.loads((digits_run.folder / "environment.json").read_text())
    now = diagnosis.diagnose()
    assert set(kept) == {"seed", *now}
    assert {name: kept[name] for name in ("versions", "devices", "threads", "host", "problems")} == {
        name: now[name] for name in ("versions", "devices", "threads", "host", "problems")
    }
    assert " free in " in kept["disk"] and "are free" in kept["memory"] and "iB" in kept["cache"]


def test_the_summary_holds_the_final_metrics(digits_run):
    summary = digits_run.summary
    assert summary["steps"] == 26 and summary["epochs"] == 2.0  # 1294 examples are 13 batches of 100
    assert summary["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert summary["stop_reason"] == "all steps done"
    assert summary["best_step"] in (13, 26)
    assert summary["seconds"] > 0
    assert summary["examples_per_second"] == pytest.approx(2600 / summary["seconds"], rel=0.01)
    for split in ("validation", "test"):
        assert set(summary[split]) == set(summary["best"][split]) == {"loss", "accuracy", "f1"}
        assert 0.5 < summary[split]["accuracy"] <= 1
    assert summary["hash"] == state_hash(last(digits_run.folder).leaves)


def test_every_logged_step_and_every_evaluation_is_written_once(digits_run):
    found = rows(digits_run.folder)
    trained = [row["step"] for row in found if row["split"] == "train"]
    assert trained == [5, 10, 15, 20, 25]
    assert [row["step"] for row in found if row["split"] == "validation"] == [13, 26]
    assert [row["step"] for row in found if row["split"] == "test"] == [26]
    assert all(row["gradient_norm"] > 0 and row["parameter_norm"] > 0 for row in found if row["split"] == "train")
    with (digits_run.folder / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(r["step"], r["split"]) for r in table] == [("13", "validation"), ("26", "validation"), ("26", "test")]
    for row in table:
        same = next(f for f in found if (str(f["step"]), f["split"]) == (row["step"], row["split"]))
        assert float(row["accuracy"]) == same["accuracy"]
    assert float(table[-1]["accuracy"]) == digits_run.summary["test"]["accuracy"]


def test_a_run_compiles_one_program_to_train_and_one_to_evaluate(digits_run):
    assert digits_run.program.chunk._cache_size() == 1
    assert digits_run.program.evaluator.compilations == 1


def test_a_run_prints_what_it_trains_its_results_and_the_next_commands(digits_run):
    out, folder = digits_run.result.out, "'größe/mein lauf'"
    assert "data    digits: 1294 train, 144 validation, 359 test; 8×8×1 uint8; classification, 10 classes" in out
    assert re.search(r"hidden\.0 +Linear +16 +1,040 +2,048", out)
    assert "cross_entropy (task=classification); choose with loss=..." in out
    assert "train   26 steps of 100 examples, 13 steps per epoch" in out
    for line in (f"evaluate {folder}", f"resume {folder} epochs=4"):
        assert f" dltrain {line}\n" in out
    assert f"tensorboard --logdir {folder}\n" in out
    assert re.search(r"test +final \(step 26\)  loss 0\.\d{4}  accuracy 0\.\d{4}", out)
    assert digits_run.result.err == ""
    assert not re.search(r"\x1b|Warning|nan|None", out)


def test_a_folder_that_holds_a_run_is_refused_before_data_is_read(digits_run, dltrain):
    before = sorted((p, p.stat().st_mtime_ns) for p in digits_run.folder.rglob("*") if p.name != "lock")
    result = dltrain("data=mnist", "data.root=/nowhere", "output_dir=größe/mein lauf", cwd=digits_run.cwd)
    assert result.code == 2
    assert "dltrain resume 'größe/mein lauf'" in result.err and "overwrite=true" in result.err
    assert result.out == ""
    assert sorted((p, p.stat().st_mtime_ns) for p in digits_run.folder.rglob("*") if p.name != "lock") == before


def test_overwriting_leaves_nothing_of_the_run_before(iris, dltrain, tmp_path):
    folder = iris("epochs=4", "seed=1", "log_every=1")
    (folder / "notes.txt").write_text("mine")
    fresh = shutil.copytree(folder, tmp_path / "before")
    assert iris("epochs=2", "overwrite=true", "log_every=1") == folder
    result = dltrain(*IRIS[:-1], "epochs=2", "log_every=1", "output_dir=fresh", cwd=tmp_path)
    fresh, before = tmp_path / "fresh", tmp_path / "before"
    assert result.code == 0
    numbers = [
        [{k: v for k, v in r.items() if k != "examples_per_second"} for r in rows(f)] for f in (folder, fresh)
    ]
    assert numbers[0] == numbers[1]
    assert checkpoint.steps(folder / "checkpoints") == checkpoint.steps(fresh / "checkpoints")
    hashes = [dltrain("hash", str(f)).out for f in (folder, fresh, before)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert (folder / "notes.txt").read_text() == "mine"
    assert len(list((folder / "tensorboard").iterdir())) == 1


def test_a_run_may_overwrite_the_run_whose_weights_it_starts_from(iris):
    before = last(iris("epochs=1")).leaves
    folder = iris("steps=1", "optim.learning_rate=1e-30", "init_from=run", "overwrite=true")
    np.testing.assert_array_equal(last(folder).leaves["params.head.kernel"], before["params.head.kernel"])


def test_a_dry_run_compiles_says_the_memory_and_leaves_no_trace(dltrain, tmp_path):
    result = dltrain("data=iris", "dry_run=true", cwd=tmp_path)
    assert result.code == 0
    assert re.search(r"memory  .*state 0\.2 MiB, no copy of the data \(0\.0 MiB\).*compiled", result.out)
    assert "nothing was trained or written" in result.out
    assert list(tmp_path.iterdir()) == []


def test_limit_batches_shortens_every_epoch_and_split(iris):
    folder = iris("limit_batches=2", "batch_size=8", "epochs=3")
    summary = RunFolder(folder).read_summary()
    assert (summary["steps"], summary["epochs"]) == (6, 3.0)
    found = json.loads((folder / "data.json").read_text())["examples"]
    assert found["validation"] == 12 and found["test"] == 16


def test_overfitting_one_batch_ends_when_it_is_learnt(iris):
    folder = iris(
        "overfit_batches=1",
        "batch_size=8",
        "epochs=500",
        "eval_every=20",
        "checkpoint_every=1h",
        "optim.learning_rate=0.5",
    )
    summary = RunFolder(folder).read_summary()
    assert summary["stop_reason"] == "train loss is below 0.01"
    assert summary["steps"] < 500 and summary["monitor"] == "train/accuracy"
    found = rows(folder)
    assert len(found) == len({(row["step"], row["split"]) for row in found})
    assert {row["split"] for row in found} == {"train", "train_evaluated", "validation", "test"}


def test_steps_replace_epochs_and_all_examples_may_be_one_batch(iris):
    folder = iris("steps=3", "batch_size=all")
    summary = RunFolder(folder).read_summary()
    assert (summary["steps"], summary["epochs"]) == (3, 3.0)
    assert read_yaml(folder / "config.yaml")["epochs"] is None


@pytest.mark.slow
def test_init_from_takes_what_matches_reports_it_and_rules_freeze_it(digits_run, dltrain, tmp_path):
    words = ("model.widths=[16,16]", "steps=5", f"init_from={digits_run.folder}", "output_dir=run")
    result = dltrain(*words, "optim=adamw", "optim.rules=[{match: 'hidden.0', freeze: true}]", cwd=tmp_path)
    assert result.code == 0
    assert re.search(r"weights 4 arrays of .*: params\.head\.bias, .*params\.hidden\.0\.kernel\n", result.out)
    assert "2 are initialised from scratch: params.hidden.1.bias, params.hidden.1.kernel" in result.out
    assert re.search(r"rule    hidden\.0: hidden\.0\.bias, hidden\.0\.kernel\n", result.out)
    source = checkpoint.load(digits_run.folder / "checkpoints", digits_run.summary["best_step"]).leaves
    after = last(tmp_path / "run").leaves
    for name in ("bias", "kernel"):
        np.testing.assert_array_equal(after[f"params.hidden.0.{name}"], source[f"params.hidden.0.{name}"])
    assert np.abs(after["params.head.kernel"] - source["params.head.kernel"]).max() > 0


def test_init_from_another_kind_of_net_is_refused(digits_run, dltrain, tmp_path):
    result = dltrain("data=iris", f"init_from={digits_run.folder}", "output_dir=run", cwd=tmp_path)
    assert result.code == 4
    assert "none of its parameters has the name and shape" in result.err
    assert list(tmp_path.iterdir()) == []
    assert dltrain("init_from=nowhere", cwd=tmp_path).code == 2


@pytest.mark.slow
def test_a_rule_scales_the_updates_of_what_it_matches(iris):
    words = ("optim=sgd", "steps=1", "batch_size=all")
    plain = last(iris(*words)).leaves
    scaled = last(iris(*words, "optim.rules=[{match: kernel, scale: 0.5}]", "overwrite=true")).leaves
    np.testing.assert_array_equal(scaled["params.head.kernel"], 0.5 * plain["params.head.kernel"])
    np.testing.assert_array_equal(scaled["params.head.bias"], plain["params.head.bias"])


def test_a_loss_that_is_not_finite_ends_with_5_and_keeps_the_last_good_checkpoint(dltrain, tmp_path):
    words = ("optim=sgd", "optim.learning_rate=1e38", "checkpoint_every=1")
    result = dltrain(*IRIS, *words, cwd=tmp_path)
    assert result.code == 5
    assert re.search(
        r"dltrain: loss .* at step 2 \(examples \d+, .*\); the last checkpoint is of step 1\n", result.err
    )
    assert "try a smaller optim.learning_rate" in result.err and "Traceback" not in result.err
    assert last(tmp_path / "run").step == 1
    assert "NonFiniteError" in (tmp_path / "run" / "train.log").read_text()
    assert not (tmp_path / "run" / "summary.json").exists()


POISON = ("data=inline", "data.inputs=[1,2,3,1e30]", *(f"data.{k}" for k in ("scale=none", "validation=0")))


def test_steps_that_are_not_finite_are_skipped_by_choice_named_and_change_nothing(dltrain, tmp_path):
    words = ("model=linear", "optim=sgd", "batch_size=1", "epochs=3", "data.shuffle=false", "output_dir=run")
    result = dltrain(*POISON, *words, "on_nonfinite=skip", "data.targets=[2,4,6,8]", cwd=tmp_path)
    assert result.code == 0, result.err
    found = last(tmp_path / "run")
    assert found.meta["callbacks"]["nonfinite"] == [4, 8, 12]
    assert int(found.leaves["step"]) == 12
    clean = dltrain(*words[:-1], *POISON[:1], *POISON[2:], "data.inputs=[1,2,3]", "data.targets=[2,4,6]",
                    "output_dir=clean", cwd=tmp_path)  # fmt: skip
    assert clean.code == 0
    np.testing.assert_array_equal(
        found.leaves["params.head.kernel"], last(tmp_path / "clean").leaves["params.head.kernel"]
    )
    assert "3 steps were skipped" in result.out + result.err


def test_ten_skipped_steps_in_a_row_end_the_run(dltrain, tmp_path):
    words = ("data=inline", "data.inputs=[1e30,2e30]", "data.targets=[1,2]", "data.scale=none", "data.validation=0")
    result = dltrain(*words, *IRIS[1:], "optim=sgd", "on_nonfinite=skip", "steps=30", cwd=tmp_path)
    assert result.code == 5
    assert "at step 10, the 10th in a row" in result.err


def test_what_was_chosen_is_not_overridden_by_what_would_be_automatic(dltrain, tmp_path):
    words = ("data=diabetes", "loss=mae", "metrics=[rmse]")
    result = dltrain(*words, "dry_run=true", cwd=tmp_path)
    assert result.code == 0 and not re.search(r"(loss|metrics) .*choose with", result.out)
    config = yaml.safe_load(dltrain(*words, "--cfg", "job").out)
    assert config["loss"]["_target_"] == "dltrain.losses.mae"
    assert list(config["metrics"]) == ["rmse"]


def test_a_regression_reports_r2_in_the_units_of_the_data(dltrain, tmp_path):
    words = ("data=diabetes", "model=linear", "optim.learning_rate=0.05")
    result = dltrain(*words, "epochs=10", "eval_every=10ep", "output_dir=run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert re.search(r"targets are standardised \(mean 1\d\d\.\d, standard deviation 7\d\.", result.out)
    test = RunFolder(tmp_path / "run").read_summary()["test"]
    source = load_embedded("diabetes")
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["examples"]["test"] == 88
    assert 0.3 < test["r2"] < 0.6 and 45 < test["rmse"] < 65 and 35 < test["mae"] < test["rmse"]
    targets = source.read(np.arange(len(source)))["targets"]
    assert test["mse"] / (1 - test["r2"]) == pytest.approx(targets.var(), rel=0.3)  # 1 - R² = MSE / variance
    saved = json.loads((tmp_path / "run" / "model.json").read_text())
    (scaling,) = saved["preprocess"]["targets"]["target"]
    assert test["loss"] == pytest.approx(test["mse"] / scaling["fitted"]["scale"][0] ** 2, rel=1e-4)


def test_quiet_prints_the_result_only(dltrain, tmp_path):
    result = dltrain("data=wine", "model=linear", "epochs=1", "quiet=true", "output_dir=run", cwd=tmp_path)
    assert result.code == 0 and result.err == ""
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == ["validation", "test", "run"]
    assert lines[-1] == "run folder  run"


def test_no_color_takes_the_colours_away(dltrain, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    result = dltrain("data=iris", "dry_run=true", cwd=tmp_path)
    assert result.code == 0
    assert not re.search(r"\x1b\[[\d;]*[34]\d", result.out)


def test_a_named_run_is_in_the_folder_of_the_date(dltrain, tmp_path):
    result = dltrain("data=iris", "model=linear", "epochs=1", "name=it's 日本", cwd=tmp_path)
    assert result.code == 0
    (folder,) = tmp_path.glob("outputs/*-*-*/*-it's 日本")
    assert (folder / "summary.json").exists()
    assert "tensorboard --logdir outputs\n" in result.out
    quoted = re.search(r"dltrain evaluate (.*)\n", result.out)[1]
    assert shlex.split(quoted) == [str(folder.relative_to(tmp_path))]


@pytest.fixture
def uncompiled(monkeypatch):
    """Messages before compilation do not wait for it."""
    monkeypatch.setattr(start, "compile_training", lambda program: 0)


@pytest.mark.usefixtures("uncompiled")
@few("columns", ["0", "1", "10", "40", "80", "none"], ("0", "40", "none"))
def test_a_terminal_of_any_width_shows_whole_words(dltrain, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    result = dltrain("dry_run=true", cwd=tmp_path)
    assert result.code == 0, result.err
    lines = [re.sub(r"\x1b\[[?\d;]*\w", "", line).rstrip() for line in result.out.splitlines()]
    if columns in ("40", "80"):
        assert max(map(len, lines)) <= int(columns)
    words = {word for line in lines for word in line.split()}
    assert {"parameters", "26,122", "validation/accuracy,", "dry"} <= words


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("feed", ["resident", "streamed"])
def test_a_class_that_is_missing_from_a_split_is_reported_even_if_quiet(dltrain, tmp_path, feed):
    """Three examples of class 2, none of which is drawn for validation; class 1 has no examples."""
    words = ("data=inline", f"data.inputs={list(range(40))}", f"data.targets={[0] * 37 + [2] * 3}", "data.test=0.5")
    result = dltrain(
        *words,
        "task=classification",
        "model=linear",
        f"data.feed={feed}",
        "quiet=true",
        "dry_run=true",
        cwd=tmp_path,
    )
    assert result.code == 0 and result.out == ""
    assert result.err.splitlines() == [
        "dltrain: warning: train has no example of 1 (1 of 3 classes; 18 examples)",
        "dltrain: warning: validation has no example of 1, 2 (2 of 3 classes; 2 examples)",
        "dltrain: warning: test has no example of 1 (1 of 3 classes; 20 examples)",
    ]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    ("targets", "said_of"),
    [
        ([0] * 20, "warning: 5 examples of test are also in train: "),
        (list(range(20)), ""),  # the same inputs with other targets are other examples
    ],
)
def test_examples_in_two_splits_are_listed_in_a_warning(dltrain, tmp_path, targets, said_of):
    inputs = [[5, number % 4] for number in range(20)]
    words = ("data=inline", f"data.inputs={inputs}", f"data.targets={targets}", "task=regression")
    result = dltrain(
        *words, "model=linear", "data.validation=0", "data.test=0.25", "quiet=true", "dry_run=true", cwd=tmp_path
    )
    assert result.code == 0 and result.err.count("warning") == bool(said_of) and said_of in result.err
    for test, train in re.findall(r"(\d+) \(as (\d+)\)", result.err):
        assert test != train and inputs[int(test)] == inputs[int(train)]
