"""The command line: every mistake exits with 2 and a helpful hint, and help imports nothing heavy."""

import os
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dltrain import __version__
from dltrain.cli import main as cli
from dltrain.cli.discovery import find_commands
from dltrain.config.call import Call
from dltrain.errors import DataError, Interrupted
from dltrain.sweep.folder import claim
from dltrain.sweep.groups import SweepJob

MISTAKES = {
    # groups and choices
    "model=cnnn": "model=cnnn: no such choice; did you mean cnn? (choices: attention_lstm,",
    "model=mlp.yaml": "did you mean mlp?",
    "model=CNN": "did you mean cnn?",
    "model=": "no such choice",
    "modle=cnn": "modle: unknown; did you mean model (now mlp)?",
    "data=cnn": "did you mean model=cnn?",
    "metrics=[accuracy,acuracy]": "metrics=acuracy: no such choice; did you mean accuracy",
    "model=[cnn]": "one choice only",
    "model={a:1}": "name a choice, such as model=",
    "model=mlp,cnn": "several values; -m trains a run for each",
    "model@net=cnn": "each part has one place in dltrain's config, that of its group: model=cnn",
    "net:model=cnn": "must be group=choice or key=value",
    "~model": "a run needs one; choose another: model=",
    "~epochs": "dltrain reads this key; set another value, such as epochs=null",
    "~model.nothing": "model.nothing",
    "runtime=tpuu": "did you mean tpu",
    "experiment=mnist_lenett": "did you mean mnist_lenet? (choices:",
    "metrics.precision.average=micro": "metrics.precision: is not chosen; choose it with metrics=[",
    # keys
    "optim.leraning_rate=1": "optim.leraning_rate: unknown; did you mean optim.learning_rate (now 0.001)?",
    "lr=1": "lr: unknown; did you mean optim.learning_rate (now 0.001)?",
    "learning_rate=1": "did you mean optim.learning_rate (now 0.001)?",
    "optimizer=adam": "optimizer: unknown; did you mean optim (now adam)?",
    "lr_scheduler=cosine": "did you mean schedule (now constant)?",
    "bs=32": "did you mean batch_size (now 64)?",
    "num_epochs=3": "did you mean epochs (now 20)?",
    "device=gpu": "did you mean runtime (now auto)?",
    "+new=1": "new: unknown",
    "++model.new=1": "model.new: unknown",
    "optim.b3=0.5": "did you mean optim.b",
    "data.validaton=0.2": "did you mean data.validation (now 0.1)?",
    "runtime.thread=2": "did you mean runtime.threads (now null)?",
    "early_stopping.patince=2": "did you mean early_stopping.patience (now null)?",
    "early_stopping=2": "has keys of its own, such as early_stopping.patience",
    "epochs.x=3": "did you mean epochs (now 20)?",
    "metrics.acuracy.better=lower": "did you mean metrics.accuracy",
    "hydra.run.dir=x output_dir=y": "both name the run folder; set only one",
    "hydra.callbacks.x=1": "choose training callbacks with callbacks=[...]",
    "hydra.job.name=x": "name a run with name=NAME",
    "hydra.job.chdir=true": "dltrain never changes the working folder",
    "hydra.searchpath=[x]": "add a folder of YAML with -cd DIR",
    "hydra.foo=1": "hydra.foo=1: cannot be set in dltrain; of hydra you can set",
    "evaluate RUN hydra.verbose=true": "is for training only",
    "experiment.epochs=3": "set the key itself: epochs=3",
    # values
    "epochs=-1": "epochs=-1: must be a whole number ≥ 1",
    "epochs=2.5": "must be a whole number",
    "batch_size=abc": "batch_size=abc: must be",
    "optim.learning_rate=nan": "optim.learning_rate=nan: must be a finite number > 0",
    "optim.learning_rate=-1": "must be a finite number > 0",
    "data.validation=1.5": "must be a finite number ≥ 0 and < 1",
    "eval_every=0ep": "eval_every=0ep: must be a number of steps (100), epochs (1ep)",
    "optim.clip={nrm:1}": "optim.clip={nrm: 1}: must be {norm, block, value or adaptive: x} with x > 0",
    "on_nonfinite=ignore": "must be one of stop, skip",
    "quiet=1": "quiet=1: must be true or false",
    "seed=-1": "must be a whole number from 0",
    "name=../x": "must be a name",
    "trust=[a-b]": "must be a list, each the dotted name of a Python package",
    "epochs=3 steps=4": "both set the length of training; set only one",
    "tags=[a,": "cannot be parsed",
    "seed=${nothing}": "seed=${nothing}: names no key",
    "epochs=${nothing}": "epochs=${nothing}: names no key",
    "steps=${nothing}": "steps=${nothing}: names no key",
    f"init_from={'9' * 400}": "999...: is too long for the name of a file",
    f"data=sequences data.path={'x' * 400}": "xxx...: is too long for the name of a file",
    "name=${oc.env:DLTRAIN_NOT_SET}": "the environment variable DLTRAIN_NOT_SET is not set",
    "data.recipe=${oc.env:DLTRAIN_NOT_SET}": "data.recipe=${oc.env:DLTRAIN_NOT_SET}: the environment variable",
    "data.task=poetry": "task=auto: data.task=poetry is not a task",
    # words and flags
    "trian": "trian: no such command; did you mean train?",
    "mnist": "did you mean data=mnist?",
    "model": "model: needs a value: model=",
    "train cnn": "takes group=choice and key=value only",
    "--epochs=5": "keys are written without dashes: epochs=5",
    "--hepl": "did you mean --help?",
    "--config-name x": "experiment=NAME",
    "--experimental-rerun x": "dltrain resume RUN",
    "--config-dir /does/not/exist": "is not a folder",
    "-cn x": "DIR/experiment/NAME.yaml",
    "-cp x": "add a folder of YAML with -cd DIR",
    "--cfg yaml": "must be one of job, hydra, all",
    "--cfg job -p modle": "the config has no such node; did you mean model?",
    "--info=x": "must be one of all, config",
    "-p model": "--package: is an option of --cfg",
    "-m resume x": "is for training only",
    "list modle": "modle: no such group; did you mean model?",
    "resume RUN num_epochs=3": "did you mean epochs (now 20)?",
    "evaluate RUN splt=test": "did you mean split (now test)?",
    "-sc install=csh": "must be install=bash",
    # sweeps: each value, and the first combination
    "-m model=mlp,cnnn": "model=cnnn: no such choice",
    "-m seed=0,x": "seed=x: must be a whole number",
    "-m hydra.sweep.dir=x output_dir=y": "both name the folder; set only one",
    "-m optim.learning_rate=interval(1e-3,1)": "needs -m and a search",
    "optim.learning_rate=interval(1e-3,1)": "needs -m and a search",
    "-m hydra.launcher._target_=os.system": "is chosen by name",
    "-m hydra/launcher=nowhere": "no such launcher is installed",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_exits_with_2_and_names_what_would_be_right(
    line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, count: Any
) -> None:
    count.tried += 1
    assert cli.main(shlex.split(line, posix="{" not in line)) == 2
    out, err = capsys.readouterr()
    assert MISTAKES[line] in err
    assert out == ""
    assert "+" not in err.replace(line, "")
    assert "Traceback" not in err and "override" not in err
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    count.survived += 1


def test_several_mistakes_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lr=1", "model=cnnn", "bs=3"]) == 2
    err = capsys.readouterr().err
    assert all(part in err for part in ("lr: unknown", "model=cnnn", "bs: unknown"))


def test_a_secret_from_the_environment_is_in_no_message_and_no_saved_config(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_MINE", "hunter2" * 12)  # longer than what a message shows of a value
    for line in (
        "epochs=${oc.env:TOKEN_OF_MINE}",
        "optim.clip={norm:${oc.env:TOKEN_OF_MINE}}",
        "model.widths=${oc.env:TOKEN_OF_MINE}",
    ):
        assert cli.main(["--cfg", "job", line, "seed=x"]) == 2
    assert cli.main(["--cfg", "job", "name=${oc.env:TOKEN_OF_MINE}", "tags=[a,'${name}']"]) == 0
    out, err = capsys.readouterr()
    assert "hunter2" not in out + err
    assert "name: ${oc.env:TOKEN_OF_MINE}" in out and "- ${oc.env:TOKEN_OF_MINE}" in out


@pytest.mark.parametrize(
    "line", ["--help", "train --help", "list", "list model", "evaluate --help", "--version", "-sc query=bash"]
)
def test_help_lists_and_completion_import_no_jax(line: str) -> None:
    code = (
        f"import sys; from dltrain.cli.main import main; code = main({line.split()!r}); print(code, *sys.modules)"
    )
    env = os.environ | {"COMP_LINE": "dltrain train mo"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert not {"jax", "flax", "optax", "numpy"} & set(modules)
    assert "hydra" not in modules or "-sc" in line


def test_help_names_the_commands_and_lines_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-h"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in find_commands())
    assert out.count("\n  dltrain ") >= 4 and "dltrain list" in out


def test_help_of_training_shows_choices_and_keys_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert "  batch_size=64 [examples]\n" in out and "lenet" in out and "  data.split_seed=0" in out


def test_list_shows_the_first_comments_of_user_files_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text("# Mine alone\n_target_: dltrain.models.mlp.MLP\n")
    assert cli.main(["list", "model", "--config-dir", "own"]) == 0
    out = capsys.readouterr().out
    assert "mine " in out and "Mine alone" in out and "Linear, logistic" in out


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["dltrain", __version__]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("dltrain train mo", "model="),
        ("dltrain mo", "model="),
        ("dltrain model=", "model=lenet"),
        ("dltrain resume RUN ep", "epochs="),
        ("dltrain re", "resume"),
        ("dltrain list mo", "model"),
        ("dltrain list act", "activation"),
        ("dltrain model=cnn model.dro", "model.dropout="),
        ("dltrain evaluate RUN spl", "split="),
        ("dltrain report RUN out", "output="),
        ("dltrain compare RUN out", "output="),
        ("dltrain find", "find-lr"),
        ("dltrain find-lr ra", "rates="),
        ("dltrain find-batch model=cnn model.dro", "model.dropout="),
    ],
)
def test_completion_knows_commands_groups_choices_and_keys(
    line: str, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert cli.main(["-sc", "query=bash"]) == 0
    assert wanted in capsys.readouterr().out.split()


def test_completion_lists_run_folders_and_for_compare_several_and_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "sweep/0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "sweep" / "jobs.txt").touch()
    monkeypatch.chdir(tmp_path)

    def completed(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        assert cli.main(["-sc", "query=bash"]) == 0
        return capsys.readouterr().out.split()

    assert completed("dltrain report ") == ["two", "sweep/0", "one"]
    assert completed("dltrain compare one ") == ["two", "sweep", "sweep/0", "one"]
    assert completed("dltrain compare one two sw") == ["sweep", "sweep/0"]
    assert completed("dltrain report one ") == ["output="]  # no second run, and no key of training


def test_completion_installs_for_the_name_dltrain(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-sc", "install=bash"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("hydra_bash_completion dltrain")


def test_a_failure_ends_with_its_code_and_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raised: list[BaseException] = [DataError("row 3 is bad"), KeyboardInterrupt(), ZeroDivisionError("oops")]
    monkeypatch.setattr(cli, "_run", lambda *args: (_ for _ in ()).throw(raised.pop(0)))
    assert [cli.main([]) for _ in range(3)] == [3, 130, 1]
    err = capsys.readouterr().err
    assert "dltrain: row 3 is bad\n" in err and "internal error: ZeroDivisionError: oops" in err
    assert "Traceback" not in err


def test_what_a_library_raises_after_the_command_is_not_printed() -> None:
    """If a full disk ends several tasks, one is reported; the interpreter finds the others when it exits."""
    code = "import sys; from dltrain.cli.main import main; sys.argv = ['dltrain', '--version']; main()"
    late = "import logging; logging.getLogger('asyncio').error('late')"
    line = [sys.executable, "-c", f"{code}; {late}"]
    assert subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stderr == ""


class _Fake:
    """Replaces the command train: fails depending on the seed, and records its arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[int | None, str, object]] = []
        self.summarised: list[Path] = []
        train, table = types.ModuleType("dltrain.commands.train"), types.ModuleType("dltrain.report.sweep")
        train.run, table.summarise = self.run, lambda folder, jobs, **more: self.summarised.append(folder)  # ty: ignore[unresolved-attribute]
        monkeypatch.setitem(sys.modules, train.__name__, train)
        jobs = types.ModuleType("dltrain.sweep.train")
        jobs.train_jobs = self.train_jobs  # ty: ignore[unresolved-attribute]
        for module in (table, jobs):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def run(self, call: Call) -> int:
        self._train(None, call.folder.name if call.folder else "", call.compose().config)
        return 0

    def train_jobs(self, jobs: Sequence[SweepJob], guard: Callable, signals: object, **more: object) -> None:
        for job in jobs:
            guard(job, lambda job=job: self._train(job.number, job.folder.name, job.composed.config))

    def _train(self, job: int | None, name: str, config: dict) -> str:
        self.calls.append((job, name, config))
        match config["seed"]:
            case 1:
                raise DataError("bad row")
            case 2:
                raise ValueError("a fault")
            case 3:
                raise Interrupted("saved")
        return "trained"


def test_a_sweep_runs_on_after_a_failing_job_and_ends_with_the_first_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fake = _Fake(monkeypatch)
    assert cli.main(["-m", "seed=0,1,2,4", "optim.eps=1e-7", "model=linear"]) == 3
    assert [(job, name) for job, name, _ in fake.calls] == [(0, "0"), (1, "1"), (2, "2"), (3, "3")]
    assert [c["seed"] for *_, c in fake.calls] == [0, 1, 2, 4]
    assert {c["optim"]["eps"] for *_, c in fake.calls} == {1e-7}
    assert fake.summarised == [next(tmp_path.glob("multirun/*/*"))]
    err = capsys.readouterr().err
    assert "job 1: bad row" in err and "job 2: internal error" in err and "Error executing" not in err
    assert not list(tmp_path.rglob(".hydra")) and not list(tmp_path.rglob("*.log"))
    kept = {p.parent.name: p.read_text().partition(" (please")[0] for p in tmp_path.rglob("failure.txt")}
    assert kept == {"1": "bad row\n", "2": "internal error: ValueError: a fault"}  # for the table


def test_an_interrupt_ends_the_whole_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Fake(monkeypatch)
    assert cli.main(["-m", "seed=0,3,4"]) == 130
    assert [c["seed"] for *_, c in fake.calls] == [0, 3]
    assert len(fake.summarised) == 1


def test_output_dir_is_the_folder_of_a_sweep_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = _Fake(monkeypatch)
    assert cli.main(["-m", "model=glob(lin*)", "output_dir=x y"]) == 0
    assert fake.summarised == [tmp_path / "x y"]
    assert fake.calls[0][2]["output_dir"] is None  # ty: ignore[not-subscriptable]
    assert cli.main(["-m", "seed=0,4", "output_dir=x y"]) == 2


def test_two_sweeps_of_one_second_get_two_folders(tmp_path: Path) -> None:
    folders = {claim(None, overwrite=False) for _ in range(5)}
    assert len(folders) == 5 and all(f.is_dir() and f.parent.parent == tmp_path / "multirun" for f in folders)


def test_a_word_typed_twice_counts_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Fake(monkeypatch)
    assert cli.main(["seed=5", "+seed=7", "model=cnn", "model=linear"]) == 0
    (_, _, config) = fake.calls[0]
    assert config["seed"] == 7 and config["model"]["_target_"].endswith("Linear")  # ty: ignore[not-subscriptable]


@pytest.mark.parametrize("name", ["größe", "a run (2)", "it's", "100%", "1,5!", "a=b", "日本"])
def test_names_outside_hydras_grammar_are_taken_as_typed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Fake(monkeypatch)
    assert cli.main([f"name={name}"]) == 0
    assert [c["name"] for *_, c in fake.calls] == [name]
