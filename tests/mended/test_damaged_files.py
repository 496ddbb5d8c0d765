"""Files of a run folder that are not what dltrain wrote: each command that reads one names it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from few import few

from dltrain import open_run
from dltrain.errors import CheckpointError
from dltrain.report.sweep import summarise

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")


@pytest.fixture(scope="module")
def made(dltrain, tmp_path_factory):
    """A run of two steps."""
    cwd = tmp_path_factory.mktemp("files")
    words = (
        "data=iris",
        "data.split_seed=7",
        "model=linear",
        "steps=2",
        "batch_size=16",
        "quiet=true",
        "output_dir=run",
    )
    said = dltrain(*words, cwd=cwd, figures=False)
    assert said.code == 0, said.err
    return cwd / "run"


@pytest.fixture
def run(made, tmp_path):
    """A copy of it that may be damaged."""
    return shutil.copytree(made, tmp_path / "run")


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("something")


def as_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


KINDS = {
    "not UTF-8": lambda path: path.write_bytes(b"{'a': \xff\xfe\x00}"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a number": lambda path: path.write_text("3\n"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "empty": lambda path: path.write_text(""),
    "a folder": as_folder,
    "a FIFO": as_fifo,
}
RESUME, LONGER, EVALUATE = ("resume",), ("resume", "steps=3"), ("evaluate",)
CONTENT = ("not UTF-8", "a list", "a number", "deep", "empty")
FEW = ("not UTF-8", "a list")
READ = {  # file, command -> exit code of damaged content, of a folder, of a FIFO, and which contents are tried
    ("config.yaml", RESUME): (2, 2, 2, CONTENT),
    ("config.yaml", EVALUATE): (2, 2, 2, FEW),
    ("overrides.yaml", RESUME): (4, 6, 6, CONTENT),  # 6: nothing is written where a file is not one
    ("overrides.yaml", EVALUATE): (0, 0, 0, ()),
    ("data.json", RESUME): (4, 6, 6, CONTENT),
    ("data.json", EVALUATE): (4, 4, 4, FEW),
    ("model.json", RESUME): (0, 6, 6, FEW),
    ("model.json", EVALUATE): (0, 0, 0, ()),
    ("model.json", ("hash",)): (0, 0, 0, CONTENT),
    ("model.json", ("verify",)): (4, 4, 4, CONTENT),
    ("metrics.jsonl", LONGER): (0, 6, 6, FEW),
    ("summary.json", RESUME): (4, 6, 6, CONTENT),
    ("saved.json", ("hash",)): (0, 0, 0, CONTENT),
    ("saved.json", ("verify",)): (4, 4, 4, CONTENT),
    ("lock", RESUME): (0, 6, 6, FEW),
}


@few(("file", "line"), READ, 3, ids=[f"{file}-{line[0]}" for file, line in READ])
def test_a_damaged_file_is_named(dltrain, made, tmp_path, file, line):
    damaged, folder, fifo, contents = READ[file, line]
    for kind in (*contents, "a folder", "a FIFO"):
        run = shutil.copytree(made, tmp_path / kind)
        KINDS[kind](run / file)
        said = dltrain(line[0], str(run), *line[1:])
        story = f"{kind}: {said}"
        assert said.code == {"a folder": folder, "a FIFO": fifo}.get(kind, damaged), story
        quiet = file in ("lock", "overrides.yaml") and said.code == 0  # their content is not needed
        assert file in said.err or quiet, story
        assert "internal error" not in said.err and "Traceback" not in said.err, story
        shutil.rmtree(run)


@few("kind", KINDS, 3)
def test_a_run_that_is_opened_in_python_names_a_damaged_file(run, kind):
    for file, use in (
        ("model.json", lambda opened: opened.outputs([[5.1, 3.5, 1.4, 0.2]])),
        ("summary.json", lambda opened: opened.summary),
        ("metrics.jsonl", lambda opened: opened.metrics),
    ):
        whole = (run / file).read_bytes()
        KINDS[kind](run / file)
        with pytest.raises(CheckpointError, match=file):
            use(open_run(run))
        shutil.rmtree(run / file) if (run / file).is_dir() else (run / file).unlink()
        (run / file).write_bytes(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_a_sweep_names_a_damaged_file(run, capsys, kind):
    for file in ("summary.json", "overrides.yaml"):
        whole = shutil.copytree(run, run.parent / file)
        KINDS[kind](whole / file)
        summarise(run.parent, [whole])
        said = capsys.readouterr().out
        assert "1 runs, 1 failed" in said and file in said, said


def test_the_reason_of_a_failed_job_may_be_any_bytes(run, capsys):
    (run / "failure.txt").write_bytes(b"no \xff\xfe")
    summarise(run.parent, [run])
    assert "job run: no " in capsys.readouterr().out


def test_a_changed_digit_in_a_file_is_noticed(dltrain, run):
    for file, line in (("summary.json", RESUME), ("data.json", EVALUATE), ("overrides.yaml", RESUME)):
        text = (run / file).read_text()
        place = next(i for i, letter in enumerate(text) if letter in "123456789")
        (run / file).write_text(text[:place] + str(int(text[place]) - 1) + text[place + 1 :])
        said = dltrain(line[0], str(run), *line[1:])
        assert said.code == 4 and f"{file} is damaged, or was edited" in said.err, said
        (run / file).write_text(text)


OTHER_OBJECTS = (
    "dltrain.callbacks.best.Best",
    "dltrain.models.linear.Linear",
    "dltrain.losses.cross_entropy",
    "optax.identity",
    "dltrain.tasks.Classification",
)


@few("target", OTHER_OBJECTS, 2)
def test_callbacks_that_name_other_objects_are_refused(dltrain, run, target):
    text = (run / "config.yaml").read_text()
    assert "callbacks: {}" in text
    (run / "config.yaml").write_text(text.replace("callbacks: {}", f"callbacks:\n  x:\n    _target_: {target}"))
    for line in (LONGER, EVALUATE):
        said = dltrain(line[0], str(run), *line[1:])
        assert said.code == 2 and "callbacks.x" in said.err and "internal error" not in said.err, said


@few("expression", ["(" * 500 + ")" * 500, "(a)" * 500, "(" * 5000, "(?P<a>x)(?P<a>y)", "a{99999999999}"], 2)
def test_a_regular_expression_that_cannot_be_used_is_refused(dltrain, run, expression):
    text = (run / "config.yaml").read_text()
    assert "  rules: []" in text
    rules = f"  rules: [{{match: '{expression}', freeze: true}}]"
    (run / "config.yaml").write_text(text.replace("  rules: []", rules, 1))
    for line in (RESUME, EVALUATE):
        said = dltrain(line[0], str(run), *line[1:])
        assert said.code == 2 and "optim.rules" in said.err and "internal error" not in said.err, said


@pytest.mark.slow
def test_split_all_leaves_out_an_empty_split(dltrain, tmp_path):
    words = (
        "data=iris",
        "data.split_seed=7",
        "model=linear",
        "steps=1",
        "data.test=0",
        "quiet=true",
        "output_dir=run",
    )
    assert dltrain(*words, cwd=tmp_path).code == 0
    said = dltrain("evaluate", "run", "split=all", cwd=tmp_path)
    assert said.code == 0, said
    assert [line.split()[:2] for line in said.out.splitlines()[1:4]] == [
        ["train", "135"], ["validation", "15"], ["test", "no"]
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["hunter2-correct-horse", "a hunter2-correct-horse", "four"])
def test_a_secret_among_the_names_of_the_data_is_refused(dltrain, tmp_path, monkeypatch, name):
    secret = name.removeprefix("a ")
    monkeypatch.setenv("TOKEN_OF_MINE", secret)
    values = {"inputs": np.ones((40, 3, 2), np.float32), "targets": np.arange(40) % 2}
    np.savez(tmp_path / f"{secret}.npz", **values, classes=np.array([name, "b"]))
    words = ("data=sequences", "model=rnn", "model.hidden=4", "steps=1", "output_dir=run")
    said = dltrain(*words, "data.path=${oc.env:TOKEN_OF_MINE}.npz", cwd=tmp_path)
    assert said.code == 2 and "data.path: the value of the environment variable TOKEN_OF_MINE" in said.err, said
    assert secret not in said.err + said.out and not (tmp_path / "run").exists()
