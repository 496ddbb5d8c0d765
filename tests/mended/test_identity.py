"""What a run was trained with cannot be exchanged unnoticed: config, data, checkpoints, environment and code."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from few import few

from dltrain import open_run
from dltrain.devices import runtime
from dltrain.errors import CheckpointError
from dltrain.report.console import shown
from dltrain.runs import checkpoint
from dltrain.runs.sealed import seal

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")

SMALL = (
    "data=iris",
    "data.split_seed=7",
    "model.widths=[8]",
    "batch_size=16",
    "log_every=1",
    "eval_every=3",
    "quiet=true",
)


def train(dltrain, cwd: Path, name: str, *words: str) -> Path:
    said = dltrain(*SMALL, *words, f"output_dir={name}", cwd=cwd, figures=False)
    assert said.code == 0, said.err
    return cwd / name


@pytest.fixture(scope="module")
def runs(dltrain, tmp_path_factory):
    """A run of six steps with checkpoints of steps 3 and 6, and its twin, which differs in its seed only."""
    cwd = tmp_path_factory.mktemp("identity")
    saving = ("steps=6", "checkpoint_every=3", "keep_every=3")
    for name, seed in (("run", 0), ("twin", 1)):
        train(dltrain, cwd, name, *saving, f"seed={seed}")
    return cwd


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the run that may be changed."""
    return shutil.copytree(runs / "run", tmp_path / "run")


def edit(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert len(re.findall(old, text, re.MULTILINE)) == 1, old
    (run / "config.yaml").write_text(re.sub(old, new, text, flags=re.MULTILINE))


EDITED = {  # what is edited in config.yaml -> what is refused
    "activation": (r"^  activation: relu$", "  activation: tanh", "model.activation: relu -> tanh"),
    "scaling": (r"^  scale: auto$", "  scale: none", "data.scale: auto -> none"),
    "seed": (r"^seed: 0$", "seed: 7", "seed: 0 -> 7"),
    "batch": (r"^batch_size: 16$", "batch_size: 8", "batch_size: 16 -> 8"),
    "optimizer": (r"^  b1: 0.9$", "  b1: 0.5", "optim.b1: 0.9 -> 0.5"),
    "removed": (r"^  split_seed: 7\n", "", "data.split_seed: 7 -> not set"),
    "precision": (r"^  precision: float32$", "  precision: bfloat16", "runtime.precision: float32 -> bfloat16"),
}


@pytest.mark.parametrize("command", ["evaluate", "resume"])
@pytest.mark.parametrize("case", EDITED)
def test_a_config_edited_after_training_is_refused(dltrain, run, command, case):
    old, new, change = EDITED[case]
    edit(run, old, new)
    said = dltrain(command, str(run), *(["steps=9"] if command == "resume" else []))
    assert said.code == 2, said
    assert f"config.yaml: {change}: was edited after the checkpoint of step" in said.err and said.out == ""


REPORTED = {
    "rate": (r"^  learning_rate: 0.001$", "  learning_rate: 0.5", "optim.learning_rate: 0.001 -> 0.5"),
    "logging": (r"^log_every: 1$", "log_every: 2", "log_every: 1 -> 2"),
    "length": (r"^steps: 6$", "steps: 8", "steps: 6 -> 8"),
}


@few("case", REPORTED, 2)
@pytest.mark.slow
def test_an_edit_of_what_may_change_is_reported(dltrain, run, case):
    old, new, change = REPORTED[case]
    edit(run, old, new)
    said = dltrain("resume", str(run), "steps=9")
    assert said.code == 0, said.err
    assert f"config.yaml: {change} since the checkpoint of step 6 was written" in said.err


def test_a_change_by_resume_is_reported_once_and_not_by_evaluate(dltrain, run):
    said = dltrain("resume", str(run), "steps=9", "optim.learning_rate=0.01", "data.timeout=5")
    assert said.code == 0 and "since the checkpoint" not in said.err, said.err
    said = dltrain("evaluate", str(run), "checkpoint=3")  # which was written before the change
    assert (said.code, said.err) == (0, "")


CHANGES_THE_MODEL = (
    "data.scale=none",
    "model.activation=tanh",
    "model.output_activation=softmax",
    "model=linear",
    "data=wine",
    "data.preprocess=[]",
    "data.split_seed=3",
    "seed=4",
    "task=classification",
    "optim.ema=0.9",
    "optim=sgd",
    "limit_batches=1",
)


@few("word", CHANGES_THE_MODEL, 3)
def test_evaluating_with_another_model_or_data_is_refused(dltrain, runs, word):
    said = dltrain("evaluate", str(runs / "run"), word)
    same = word in ("data.preprocess=[]", "task=classification")  # are what the run has
    assert said.code == (0 if same else 2), said
    assert same or f"{word.partition('=')[0]}" in said.err


@few("word", ["eval_batch_size=7", "metrics=[accuracy,f1]", "runtime.precision=mixed"])
def test_how_it_is_measured_may_change(dltrain, runs, word):
    said = dltrain("evaluate", str(runs / "run"), word)
    assert (said.code, said.err) == (0, "")


def test_a_checkpoint_of_another_run_is_refused(dltrain, runs, run):
    newest = run / "checkpoints/step_00000006"
    shutil.rmtree(newest)
    shutil.copytree(runs / "twin/checkpoints/step_00000006", newest)
    for line in (("hash",), ("resume", "steps=9"), ("evaluate", "checkpoint=last"), ("evaluate", "checkpoint=6")):
        said = dltrain(line[0], str(run), *line[1:])
        assert said.code == 4 and said.out == "", said
        assert f"{newest} was written by another run than {run / 'model.json'}" in said.err
    said = dltrain("verify", str(run))
    assert said.code == 4 and f"{newest}  was written by another run" in said.out


def test_a_run_folder_with_another_runs_checkpoints_and_model_is_refused(dltrain, runs, run):
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(runs / "twin/checkpoints", run / "checkpoints")
    for file in ("model.json", "summary.json"):
        shutil.copy(runs / "twin" / file, run)
    for command in ("evaluate", "resume"):
        said = dltrain(command, str(run))
        assert said.code == 2 and "config.yaml: seed: 1 -> 0: was edited" in said.err, said


def test_a_summary_of_another_run_is_refused(dltrain, runs, run):
    shutil.copy(runs / "twin/summary.json", run)
    said = dltrain("resume", str(run), "steps=7")
    assert said.code == 4 and "summary.json is of another run" in said.err
    with pytest.raises(CheckpointError, match=r"summary\.json is of another run"):
        _ = open_run(run).summary


def test_a_missing_newest_checkpoint_is_reported(dltrain, run):
    shutil.rmtree(run / "checkpoints/step_00000006")
    message = "the newest checkpoint of .*, of step 6, is missing; the newest that is left is of step 3"
    for line, code in ((("hash",), 0), (("evaluate", "checkpoint=last"), 0), (("verify",), 4)):
        said = dltrain(line[0], str(run), *line[1:])
        assert said.code == code and re.search(message, said.err), said
    said = dltrain("resume", str(run))
    assert said.code == 0 and re.search(message, said.err)
    assert dltrain("hash", str(run)).err == ""  # it was written again


@pytest.mark.slow
def test_an_environment_variable_with_another_value_is_refused_or_reported(dltrain, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTIVATION_OF_MINE", "tanh")
    monkeypatch.setenv("WORD_OF_MINE", "first")
    words = ("steps=2", "model.activation=${oc.env:ACTIVATION_OF_MINE}", "tags=['${oc.env:WORD_OF_MINE}']")
    run = train(dltrain, tmp_path, "run", *words)
    assert dltrain("evaluate", str(run)).err == ""
    assert b"tanh" not in b"".join(file.read_bytes() for file in run.rglob("manifest.json"))
    monkeypatch.setenv("WORD_OF_MINE", "second")
    said = dltrain("evaluate", str(run))
    assert said.code == 0 and "tags: the environment variable WORD_OF_MINE is not what it was" in said.err
    monkeypatch.setenv("ACTIVATION_OF_MINE", "relu")
    for command in ("evaluate", "resume"):
        said = dltrain(command, str(run))
        assert said.code == 2
        assert "model.activation: the environment variable ACTIVATION_OF_MINE is not what it was" in said.err


@pytest.mark.slow
def test_changed_code_of_a_trusted_package_is_reported(dltrain, tmp_path, monkeypatch):
    package = tmp_path / "minelib"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(
        "from minelib_helper import FACTOR\nfrom dltrain.models.linear import Linear\n\n\n"
        "class Mine(Linear):\n    factor = FACTOR\n"
    )
    (tmp_path / "minelib_helper.py").write_text("FACTOR = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("data=iris", "data.split_seed=7", "steps=2", "quiet=true", "output_dir=run", "trust=[minelib]")
    said = dltrain(*words, "model=linear", "model._target_=minelib.parts.Mine", cwd=tmp_path)
    assert said.code == 0, said.err
    run = tmp_path / "run"
    assert dltrain("evaluate", str(run), "trust=[minelib]").err == ""
    for file, module in (("minelib/parts.py", "minelib.parts"), ("minelib_helper.py", "minelib_helper")):
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(f"{text}# another version\n")
        for line in (("evaluate",), ("resume", "steps=3")):
            said = dltrain(line[0], str(run), *line[1:], "trust=[minelib]")
            assert f"the code of {module} differs from the code that the checkpoint of step 2" in said.err, said
            shutil.rmtree(run / "checkpoints/step_00000003", ignore_errors=True)
            (run / "saved.json").unlink(missing_ok=True)
        (tmp_path / file).write_text(text)


def test_data_that_does_not_scale_as_in_training_is_refused(dltrain, run):
    saved = json.loads((run / "model.json").read_text())
    (chain,) = saved["preprocess"]["inputs"].values()
    chain[0]["fitted"]["scale"][0] *= 2
    del saved["checksum"]
    (run / "model.json").write_text(json.dumps(seal(saved)))
    for command in ("evaluate", "resume"):
        said = dltrain(command, str(run))
        assert said.code == 3 and "comes out differently" in said.err and "model.json" in said.err, said


@pytest.mark.slow
def test_data_is_found_from_any_folder(dltrain, tmp_path):
    rng = np.random.default_rng(0)
    values = {"inputs": rng.normal(size=(40, 3, 2)).astype(np.float32), "targets": np.arange(40) % 2}
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    np.savez(tmp_path / "here/x.npz", **values)
    words = ("data=sequences", "data.path=x.npz", "model=rnn", "model.hidden=4", "steps=1", "quiet=true")
    said = dltrain(*words, "output_dir=run", cwd=tmp_path / "here")
    assert said.code == 0, said.err
    for command in (("evaluate",), ("resume", "steps=2")):
        said = dltrain(command[0], "../here/run", *command[1:], cwd=tmp_path / "there")
        assert (said.code, said.err) == (0, ""), said
    (tmp_path / "here/x.npz").rename(tmp_path / "there/y.npz")
    for command in (("evaluate",), ("resume", "steps=3")):
        said = dltrain(command[0], "../here/run", "data.path=y.npz", *command[1:], cwd=tmp_path / "there")
        assert (said.code, said.err) == (0, ""), said
    assert dltrain("evaluate", "here/run", cwd=tmp_path).code == 0  # resume has kept the new path


DIFFERENT = {"threads": 3, "XLA_FLAGS": "--xla_cpu_enable_fast_math=true", "JAX_ENABLE_X64": True, "processor": "x"}


@few("name", DIFFERENT, 1)
def test_what_decides_the_last_bits_is_recorded_and_reported(dltrain, run, monkeypatch, name):
    before = runtime.numerics()
    assert checkpoint.load_last(run / "checkpoints", warn=print).about["numerics"] == before
    monkeypatch.setattr(runtime, "numerics", lambda: {**before, name: DIFFERENT[name]})
    said = dltrain("resume", str(run), "steps=7")
    assert said.code == 0
    line = f"numerics differ from the checkpoint's: {name} {before[name]} -> {DIFFERENT[name]}; results may"
    assert line in said.err


AVERAGED = {"ema": ("optim.ema=0.5",), "schedule_free": ("optim=schedule_free",), "neither": ()}


@pytest.mark.slow
@pytest.mark.parametrize("case", AVERAGED)
def test_a_run_starts_from_the_weights_that_another_evaluates(dltrain, tmp_path, case):
    fast = ("optim.learning_rate=0.1", "model.norm=batch", "monitor=null", "steps=5")
    run = train(dltrain, tmp_path, "run", *AVERAGED[case], *fast)
    still = ("optim=sgd", "optim.learning_rate=1e-30", "steps=1", "model.norm=batch")
    child = train(dltrain, tmp_path, "child", f"init_from={run}", *still)
    state, bundle = open_run(child, checkpoint="last").state, open_run(run, checkpoint="last").bundle
    raw = open_run(run, checkpoint="last").state["params.hidden.0.kernel"]
    wanted = np.asarray(bundle.params["hidden"][0]["kernel"])
    np.testing.assert_allclose(state["params.hidden.0.kernel"], wanted, rtol=1e-6, atol=1e-7)
    assert np.allclose(wanted, raw) == (case == "neither")


def test_a_finished_quiet_run_reports_that_it_is_finished(dltrain, run):
    said = dltrain("resume", str(run))
    assert said.code == 0 and f"{run} is finished: 6 of 6 steps (all steps done)\n" in said.out
    said = dltrain("resume", str(run), "steps=2")
    assert f"{run} is finished: 6 steps, and the config asks for 2 (all steps done)\n" in said.out


def rows_of(run: Path) -> list[bytes]:
    return (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)


def altered(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"step": 2', b'"step": 1') for line in lines]


DAMAGED_ROWS = {
    "a row that is gone": (lambda lines: lines[:2] + lines[3:], r"it has \d of \d+ rows"),
    "an altered value": (lambda lines: [lines[0].replace(b'"loss": ', b'"loss": 9'), *lines[1:]], "are not those"),
    "an altered step": (altered, "are not those that were written"),
    "a line that is not UTF-8": (lambda lines: [b"\xff\xfe\n", *lines[1:]], "are not those that were written"),
    "a line of another kind": (lambda lines: [b"[1]\n", *lines[1:]], "are not those that were written"),
    "an empty file": (lambda lines: [], "it has 0 of"),
    "a cut file": (lambda lines: [*lines[:3], lines[3][:9]], "it has 3 of"),
    "a last row that is altered": (
        lambda lines: [*lines[:-1], lines[-1].replace(b'"loss": ', b'"loss": 9')],
        "are not those that were written",
    ),
}


@few("case", DAMAGED_ROWS, 1)
def test_damaged_metrics_are_reported_and_kept(dltrain, run, case):
    damage, problem = DAMAGED_ROWS[case]
    content = b"".join(damage(rows_of(run)))
    assert content != (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged, or was edited"):
        _ = open_run(run).metrics
    said = dltrain("resume", str(run), "steps=7")
    assert said.code == 0
    assert re.search(
        rf"metrics\.jsonl is damaged, or was edited: .*({problem}).*rows are kept, in results.csv", said.err
    )
    assert (run / "metrics.damaged.jsonl").read_bytes() == content
    assert open_run(run).metrics["train"]["step"][-1] == 7


def test_missing_metrics_are_reported(dltrain, run):
    (run / "metrics.jsonl").unlink()
    said = dltrain("resume", str(run), "steps=7")
    assert said.code == 0 and re.search(r"metrics\.jsonl is damaged, or was edited: it has 0 of \d+ rows", said.err)


def test_whole_metrics_are_not_reported(dltrain, run):
    before = rows_of(run)
    said = dltrain("resume", str(run), "steps=7")
    assert (said.code, said.err) == (0, "")
    assert rows_of(run)[: len(before)] == before
    summary = json.loads((run / "summary.json").read_text())
    losses = open_run(run).metrics["test"]["loss"]
    assert shown(losses[-1]) == shown(summary["test"]["loss"])
