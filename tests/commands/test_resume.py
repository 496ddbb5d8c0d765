"""A resumed run equals an uninterrupted one: its bits, its curves and the state of its callbacks."""

import hashlib
import json
import re
import shutil
import signal
import zipfile

import numpy as np
import pytest
from few import few
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dltrain import trainer as training
from dltrain.data.sources import embedded
from dltrain.devices import runtime
from dltrain.ops import lowering
from dltrain.report import finish, start
from dltrain.report.console import shown
from dltrain.runs import checkpoint

HARD = ("data=iris", "model.widths=[8]", "model.dropout=0.3", "model.norm=batch", "schedule=one_cycle")
STRAIGHT = (*HARD, "batch_size=16", "epochs=4", "eval_every=5", "log_every=1", "output_dir=run")  # 7 steps an epoch

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")


@pytest.fixture(scope="module")
def straight(dltrain, tmp_path_factory):
    """The uninterrupted run."""
    cwd = tmp_path_factory.mktemp("straight")
    result = dltrain(*STRAIGHT, cwd=cwd, figures=False)
    assert result.code == 0, result.err
    return cwd / "run"


@pytest.fixture
def cut(monkeypatch):
    """`cut(step)` ends the next training, as SIGINT does, at the end of the first chunk from that step on."""

    def at(step: int) -> None:
        look = training.Signals.__call__

        def stop(self: training.Signals, event: object) -> None:
            if event.step >= step:
                monkeypatch.setattr(training.Signals, "__call__", look)
                self.received = signal.SIGINT
            look(self, event)

        monkeypatch.setattr(training.Signals, "__call__", stop)

    return at


def rows(folder) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "examples_per_second"} for row in found]


def curves(folder) -> dict:
    """What TensorBoard shows: tag -> its points."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.endswith(("examples_per_second", "_peak_bytes"))]
    return {tag: [(p.step, p.value) for p in events.Scalars(tag)] for tag in tags}


def hash_of(dltrain, folder) -> str:
    result = dltrain("hash", str(folder))
    assert result.code == 0, result.err
    return result.out


def assert_same(dltrain, folder, straight) -> None:
    assert hash_of(dltrain, folder) == hash_of(dltrain, straight)
    both = [json.loads((f / "summary.json").read_text()) for f in (folder, straight)]
    for key in ("hash", "test", "validation", "best", "best_step", "steps", "epochs", "stop_reason"):
        assert both[0][key] == both[1][key], key
    assert rows(folder) == rows(straight)
    assert curves(folder) == curves(straight)


def test_cut_in_the_middle_of_an_epoch_and_resumed_is_the_straight_run(dltrain, straight, cut, tmp_path):
    cut(10)
    result = dltrain(*STRAIGHT, cwd=tmp_path)
    assert result.code == 130
    assert result.err.endswith(
        "\ndltrain: interrupted by SIGINT: saved at step 10; continue with: dltrain resume run\n"
    )
    assert not (tmp_path / "run" / "summary.json").exists()
    cut(15)
    assert dltrain("resume", "run", cwd=tmp_path).code == 130  # again, at the end of a chunk
    result = dltrain("resume", "run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "resumed run at step 15\n" in result.out and "was killed" not in result.out
    assert_same(dltrain, tmp_path / "run", straight)


@pytest.mark.slow
def test_what_only_observes_may_change_and_the_run_ends_with_the_same_hash(
    dltrain, straight, cut, tmp_path, monkeypatch
):
    monkeypatch.setattr(lowering, "_stock", False)  # set back afterwards, whatever the run has chosen
    cut(10)
    assert dltrain(*STRAIGHT, cwd=tmp_path).code == 130
    changes = ("eval_every=9", "checkpoint_every=4", "keep_every=7", "on_nonfinite=skip", "log_every=3")
    result = dltrain("resume", "run", *changes, "metrics=f1", "runtime.ops=stock", cwd=tmp_path)
    assert result.code == 0, result.err
    folder = tmp_path / "run"
    assert hash_of(dltrain, folder) == hash_of(dltrain, straight)
    assert [row["step"] for row in rows(folder) if row["split"] == "validation"] == [5, 10, 18, 27, 28]
    assert {14, 21, 28} <= {int(path.name.split("_")[1]) for path in (folder / "checkpoints").glob("step_*")}
    assert "f1" in json.loads((folder / "summary.json").read_text())["test"]


def test_resuming_says_that_the_process_before_was_killed_and_that_versions_are_others(
    dltrain, straight, tmp_path, monkeypatch
):
    shutil.copytree(straight, tmp_path / "run")
    now = runtime.versions()
    monkeypatch.setattr(runtime, "versions", lambda: {**now, "jax": "0.99"})
    (tmp_path / "run" / "lock").write_text("4242\n")  # as it is left by who cannot give it back
    result = dltrain("resume", "run", "epochs=6", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "process 4242 was killed during this run, by a user or for lack of memory\nresumed run" in result.out
    line = f"versions differ from the checkpoint's: jax {now['jax']} -> 0.99; results may not be bit-identical"
    assert result.err.endswith(f"\ndltrain: {line}\n")


def test_the_manifest_says_which_versions_config_and_data_a_checkpoint_is_of(straight):
    about = checkpoint.load_last(straight / "checkpoints", warn=print).about
    assert about["versions"] == runtime.versions() and "orbax-checkpoint" in about["versions"]
    assert about["config"] == hashlib.sha256((straight / "config.yaml").read_bytes()).hexdigest()
    assert about["data"] == json.loads((straight / "data.json").read_text())["fingerprint"]


@pytest.mark.slow
def test_died_behind_its_last_checkpoint_and_resumed_is_the_straight_run(dltrain, straight, tmp_path, monkeypatch):
    save = checkpoint.save

    def fail(folder, step, *content):
        if step >= 20:
            raise RuntimeError("the power went")
        return save(folder, step, *content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", fail)
        result = dltrain(*STRAIGHT, cwd=tmp_path)
    assert result.code == 1 and "internal error: RuntimeError: the power went" in result.err
    assert "Traceback" in (tmp_path / "run" / "train.log").read_text() and "Traceback" not in result.err
    kept = checkpoint.steps(tmp_path / "run" / "checkpoints")[-1]
    assert kept < 20 <= max(row["step"] for row in rows(tmp_path / "run"))
    result = dltrain("resume", "run", cwd=tmp_path)
    assert result.code == 0 and f"resumed run at step {kept}\n" in result.out
    assert_same(dltrain, tmp_path / "run", straight)


def test_died_between_its_last_step_and_its_summary_is_finished_by_resuming(
    dltrain, straight, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(finish, "_summary", lambda *args: 1 / 0)
        assert dltrain(*STRAIGHT, cwd=tmp_path).code == 1
    result = dltrain("resume", "run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert_same(dltrain, tmp_path / "run", straight)


def test_resuming_a_finished_run_says_so_and_changes_nothing(dltrain, straight):
    before = {p: p.stat().st_mtime_ns for p in straight.rglob("*") if p.is_file() and p.name != "lock"}
    result = dltrain("resume", str(straight))
    assert result.code == 0
    assert "is finished: 28 of 28 steps (all steps done)\n" in result.out
    assert f"dltrain resume {straight} epochs=8\n" in result.out
    assert {p: p.stat().st_mtime_ns for p in straight.rglob("*") if p.is_file() and p.name != "lock"} == before


def test_a_longer_run_keeps_its_schedule_and_says_what_changed(dltrain, straight, tmp_path):
    folder = shutil.copytree(straight, tmp_path / "run")
    result = dltrain("resume", "run", "epochs=6", "optim.learning_rate=0.004", "log_every=2", cwd=tmp_path)
    assert result.code == 0, result.err
    for line in ("epochs: 4 -> 6", "optim.learning_rate: 0.001 -> 0.004", "log_every: 1 -> 2"):
        assert f"changed {line}\n" in result.out
    assert "schedule keeps its 28 steps, then its last value; schedule.stretch=true" in result.out
    rates = {row["step"]: row["learning_rate"] for row in rows(folder) if row["split"] == "train"}
    assert list(rates) == [*range(1, 29), *range(30, 43, 2)]
    last = rates[28]
    assert 0 < last < 1e-7
    assert [rates[step] for step in range(30, 43, 2)] == pytest.approx([4 * last] * 7, rel=1e-6)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["steps"], summary["epochs"]) == (42, 6.0)
    assert [row["step"] for row in rows(folder) if row["split"] == "test"] == [28, 42]
    started = json.loads((folder / "overrides.yaml").read_text())
    assert started["resumed"] == [
        {"step": 28, "overrides": ["epochs=6", "optim.learning_rate=0.004", "log_every=2"]}
    ]


def test_a_schedule_may_be_stretched(dltrain, straight, tmp_path):
    folder = shutil.copytree(straight, tmp_path / "run")
    result = dltrain("resume", "run", "epochs=6", "schedule.stretch=true", cwd=tmp_path)
    assert result.code == 0 and "schedule recomputed for 42 steps (was 28)" in result.out
    rates = {row["step"]: row["learning_rate"] for row in rows(folder) if row["split"] == "train"}
    assert rates[29] > 1e4 * rates[28] and 0 < rates[42] < 1e-7


@pytest.mark.slow
def test_a_run_extended_is_the_longer_run(dltrain, tmp_path):
    words = ("data=iris", "model=linear", "batch_size=16", "eval_every=13", "checkpoint_every=1h", "log_every=1")
    assert dltrain(*words, "epochs=2", "output_dir=short", cwd=tmp_path).code == 0
    assert dltrain("resume", "short", "epochs=4", cwd=tmp_path).code == 0
    assert dltrain(*words, "epochs=4", "output_dir=long", cwd=tmp_path).code == 0
    assert hash_of(dltrain, tmp_path / "short") == hash_of(dltrain, tmp_path / "long")
    train = [[row for row in rows(tmp_path / name) if row["split"] == "train"] for name in ("short", "long")]
    assert train[0] == train[1]


REFUSED = {
    "data=wine": "data.name: iris -> wine: a run keeps its data",
    "data.scale=none": "data.scale: auto -> none",
    "data.validation=0.2": "data.validation: 0.1 -> 0.2",
    "data.split_seed=1": "data.split_seed: 0 -> 1",
    "model=linear": "model._target_: dltrain.models.mlp.MLP -> dltrain.models.linear.Linear: a run keeps its model",
    "model.widths=[4]": "model.widths: [8] -> [4]",
    "model.dropout=0": "model.dropout: 0.3 -> 0",
    "seed=1": "seed: 0 -> 1: a run keeps its seed",
    "batch_size=8": "batch_size: 16 -> 8: a run keeps its batch_size",
    "optim=sgd": "optim._target_: dltrain.optimizers.adam -> optax.sgd: a run keeps its optim",
    "optim.b1=0.5": "optim.b1: 0.9 -> 0.5",
    "optim.rules=[{match: head, freeze: true}]": "optim.rules: ",
    "loss=focal": "loss._target_: dltrain.losses.cross_entropy -> dltrain.losses.focal: a run keeps its loss",
    "loss.l2=0.1": "loss.l2: ",
    "schedule=linear": "schedule._target_: ",
    "augment=noise": "a run keeps its augment",
    "limit_batches=2": "limit_batches: null -> 2",
    "init_from=elsewhere": "init_from: null -> elsewhere",
    "experiment=mnist_lenet": "experiment: can only be chosen when a run starts",
    "lr=1": "did you mean optim.learning_rate",
}


def changed_at(folder) -> dict:
    """Return when each file was changed, without the lock, and the log with the list that names it."""
    kept = ("lock", "train.log", "written.txt")
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name not in kept}


@few(
    "word",
    REFUSED,
    ("data=wine", "data.scale=none", "model=linear", "seed=1", "optim.b1=0.5", "limit_batches=2", "lr=1"),
)
def test_what_trains_may_not_change(dltrain, straight, word, count):
    count.tried += 1
    before = changed_at(straight)
    result = dltrain("resume", str(straight), "epochs=9", word)
    assert result.code == 2
    assert REFUSED[word] in result.err
    assert result.out == "" and result.err.count("\n") == 1
    assert changed_at(straight) == before
    count.survived += 1


def test_other_data_is_refused_with_3(dltrain, straight, tmp_path, monkeypatch):
    with np.load(embedded.FOLDER / "iris.npz") as stored:
        arrays = dict(stored)
    arrays["inputs"] = arrays["inputs"].copy()
    arrays["inputs"].reshape(-1)[0] += 0.125
    np.savez(tmp_path / "iris.npz", **arrays)
    assert zipfile.is_zipfile(tmp_path / "iris.npz")
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    for command in ("resume", "evaluate"):
        result = dltrain(command, str(straight), *(["epochs=9"] if command == "resume" else []))
        assert result.code == 3
        assert re.search(
            r"the data differs from the data that .* was trained on \(fingerprint changed\)", result.err
        )


@pytest.mark.slow
def test_early_stopping_goes_on_counting_where_it_was(dltrain, cut, tmp_path):
    words = (
        "data=iris",
        "model=linear",
        "batch_size=16",
        "optim.learning_rate=1e-30",
        "early_stopping.patience=4",
        "output_dir=run",
    )
    cut(14)
    assert dltrain(*words, cwd=tmp_path).code == 130
    result = dltrain("resume", "run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "early stopping: no better validation accuracy in 4 evaluations: " in result.out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 5 * 7  # the first evaluation is the best; four more were waited for
    result = dltrain("resume", "run", cwd=tmp_path)
    assert result.code == 0 and "is finished: 35 of 140 steps (early stopping: no better" in result.out


def test_a_damaged_checkpoint_is_moved_aside_with_a_warning_and_the_previous_one_is_used(
    dltrain, straight, tmp_path
):
    folder = shutil.copytree(straight, tmp_path / "run")
    steps = checkpoint.steps(folder / "checkpoints")
    assert steps[-1] == 28
    flip(folder / "checkpoints" / "step_00000028")
    result = dltrain("resume", "run", cwd=tmp_path)
    if len(steps) == 1:
        assert result.code == 4 and "training was not restarted" in result.err
    else:
        assert result.code == 0 and f"resumed run at step {steps[-2]}" in result.out
        assert hash_of(dltrain, folder) == hash_of(dltrain, straight)
    assert "checkpoint step_00000028 is damaged" in result.err and "moved to damaged_step_00000028" in result.err


def flip(path) -> None:
    """Change one bit of the largest file."""
    file = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("words", [(), ("a", "b"), ("nowhere",), (".",)])
def test_a_run_folder_must_be_named(dltrain, words, tmp_path):
    result = dltrain("resume", *words, cwd=tmp_path)
    assert result.code == 2
    assert re.search(r"dltrain resume outputs/DATE/TIME-NAME|folder not found; RUN is|not a run folder", result.err)


def test_a_config_that_was_tampered_with_runs_nothing(dltrain, straight, tmp_path):
    folder = shutil.copytree(straight, tmp_path / "run")
    sentinel = tmp_path / "sentinel"
    text = (folder / "config.yaml").read_text()
    evil = text.replace(
        "_target_: dltrain.schedules.one_cycle", f"_target_: os.system\n  command: touch {sentinel}"
    )
    (folder / "config.yaml").write_text(evil.replace("trust: []", "trust: [os]"))
    for command in ("resume", "evaluate"):
        result = dltrain(command, "run", cwd=tmp_path)
        assert result.code == 2
        assert (
            "a config may name parts of dltrain" in result.err
            and "trust in the run's config.yaml is ignored" in result.err
        )
    assert not sentinel.exists()


@pytest.mark.slow
def test_ema_and_a_rate_that_follows_validation_are_resumed_exactly(dltrain, tmp_path, cut, monkeypatch):
    words = ("data=iris", "model.widths=[8]", "model.norm=batch", "batch_size=16", "epochs=6", "optim.ema=0.9")
    words = (*words, "schedule=plateau", "schedule.patience=1", "schedule.min_delta=10", "schedule.cooldown=1")
    words = (*words, "schedule.factor=0.5", "schedule.min_scale=0.1", "log_every=1", "eval_every=5")
    compiled = []
    compiling = start.compile_training
    monkeypatch.setattr(start, "compile_training", lambda program: compiled.append(program) or compiling(program))
    assert dltrain(*words, "output_dir=straight", cwd=tmp_path).code == 0
    assert compiled[0].chunk._cache_size() == 1  # a new rate is a number, not a program
    rates = [row["learning_rate"] for row in rows(tmp_path / "straight") if row["split"] == "train"]
    assert {round(rate / rates[0], 6) for rate in rates} == {1, 0.5, 0.25, 0.125, 0.1}
    cut(12)
    assert dltrain(*words, "output_dir=run", cwd=tmp_path).code == 130
    assert dltrain("resume", "run", cwd=tmp_path).code == 0
    assert_same(dltrain, tmp_path / "run", tmp_path / "straight")
    result = dltrain("evaluate", "run", "checkpoint=last", "split=test", cwd=tmp_path)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"loss {shown(summary['test']['loss'])}" in result.out
    raw = dltrain("evaluate", "run", "checkpoint=last", "split=test", "optim.ema=null", cwd=tmp_path)
    assert raw.code == 0 and raw.out != result.out
