"""Every block of the documentation runs: shell, YAML and Python, from the top of a page to its end.

`scripts/pages.py` describes how a page marks its blocks. The default suite composes trainings; of a few pages it
trains what later commands need, and parts of a user's own, for one epoch of one batch and without figures. With
`-m slow` every command runs as it is written.
"""

import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import jax
import pytest
import yaml
from few import few

ROOT = Path(__file__).parents[2]
PAGES = runpy.run_path(str(ROOT / "scripts" / "pages.py"))
SHORT = ["epochs=1", "limit_batches=1", "log_every=1"]
TRAINS = re.compile(r"dltrain(?: train)?(?!.* (?:--cfg|--help)\b)(?:$| (?:-m |--config-dir |'|\w+(?:\.\w+)*=))")
ON_NO_RUN = re.compile(r"dltrain (list|doctor|--version|.*--help|.*--cfg)")  # what needs no trained run
SHELL = ("cat", "cd", "export", "head", "ls", "mkdir", "mv", "rm", "tail")  # what a page may call besides dltrain
TRAINED = (
    *("docs/ensemble.md", "docs/export.md", "docs/extending.md", "docs/own-data/table.md", "docs/predict.md"),
    "docs/runs.md",
)
NEEDS_DATA = re.compile(r"mnist|tinyshakespeare|digit_captions")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list:
    return list(PAGES["blocks"](read(page)))


PAGES_WITH_BLOCKS = [page for page in PAGES["pages"]() if any(b.language != "text" for b in blocks(page))]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty working folder, from which packages can be imported, with MNIST if available."""
    shared = ROOT.parent / "shared" / "data"
    if shared.is_dir():
        monkeypatch.setenv("DLTRAIN_DATA", str(shared))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    jax.config.update("jax_numpy_rank_promotion", "allow")  # as it is for users
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    jax.config.update("jax_numpy_rank_promotion", "raise")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:  # what the page wrote
        del sys.modules[name]


class Runner:
    """Runs the blocks of one page in its folder: as written, shortened, or composed only."""

    def __init__(self, folder: Path, dltrain: Callable, how: str) -> None:
        self.folder, self.dltrain, self.how, self.names = folder, dltrain, how, {"__name__": "page"}

    def run(self, block) -> None:
        if block.file:
            PAGES["write_file"](block, self.folder)
            check_syntax(block)
        elif block.language == "bash":
            for command in block.commands:
                self.shell(command, block)
        elif block.language == "python" and not block.not_run:
            exec(compile(block.code, f"block of line {block.line}", "exec"), self.names)
        elif block.language in ("yaml", "toml"):
            check_syntax(block)
        elif block.code.startswith("$ dltrain "):
            self.session(block)

    def shell(self, command: str, block) -> None:
        trains = bool(TRAINS.match(command))
        if block.not_run:
            assert subprocess.run(["bash", "-n", "-c", command]).returncode == 0, command
        elif not command.startswith("dltrain"):
            assert command.split()[0] in SHELL, f"line {block.line}: {command}: mark the block as not run, and why"
            if self.how != "composed":
                subprocess.run(["bash", "-euc", command], cwd=self.folder, check=True, capture_output=True)
        elif trains:
            self.train(command, block)
        elif self.how == "whole" or ON_NO_RUN.match(command) or (self.how == "short" and not block.slow):
            words = shlex.split(command)[1:]
            self.call(
                words if self.how == "whole" else [re.sub(r"^epochs=\d+$", "epochs=2", w) for w in words], block
            )

    def train(self, command: str, block) -> None:
        words = shlex.split(command)[1:]
        needed = "-m" not in words and not block.slow and re.search(r"\b(output_dir|trust)=", command)
        if self.how == "composed" or (self.how == "short" and not needed):
            for job in jobs(command):
                self.call([*job, "--cfg", "job"], block)
        elif self.how == "short":
            self.call(short(words), block)
        elif "DLTRAIN_DATA" in os.environ or not NEEDS_DATA.search(command):
            self.call(words, block)

    def call(self, words: list[str], block) -> None:
        result = self.dltrain(*words, cwd=self.folder, figures=self.how == "whole")
        assert result.code == 0, f"line {block.line}: dltrain {shlex.join(words)}\n{result.err}"

    def session(self, block) -> None:
        """Compare the message that a page shows for a command with the current one."""
        command, _, message = block.code.removeprefix("$ ").partition("\n")
        result = self.dltrain(*shlex.split(command)[1:], cwd=self.folder)
        assert result.code and result.err == message, f"line {block.line}: {command}\n{result.err}"


def short(words: list[str]) -> list[str]:
    """Shorten a training command to one epoch of one batch."""
    length = [word for word in words if re.match(r"(epochs|steps|examples)=", word)]
    kept = [word for word in words if word not in length and not word.startswith(("limit_batches=", "log_every="))]
    return [*kept, *SHORT]


def jobs(command: str) -> list[list[str]]:
    """Return the words of a command, or of the first and the last job of a sweep."""
    words = shlex.split(command)[1:]
    if "-m" not in words:
        return [words]
    lists = [re.split(r",(?![^\[{]*[\]}])", word) for word in words if word != "-m"]
    names = [choices[0].partition("=")[0] for choices in lists]
    last = [c[-1] if len(c) == 1 else f"{name}={c[-1]}" for name, c in zip(names, lists, strict=True)]
    return [[choices[0] for choices in lists], last]


def check_syntax(block) -> None:
    if block.language == "python":
        compile(block.code, f"block of line {block.line}", "exec")
    elif block.language == "toml":
        assert tomllib.loads(block.code)
    else:
        assert yaml.safe_load(block.code) is not None, f"line {block.line}"


LONG = (  # of which other tests try the same
    *("docs/ensemble.md", "docs/export.md", "docs/extending.md", "docs/python.md", "docs/own-data/table.md"),
    *("docs/evaluate.md", "docs/predict.md", "docs/report.md", "docs/repeat.md", "docs/serve.md"),
)


@few("page", PAGES_WITH_BLOCKS, [page for page in PAGES_WITH_BLOCKS if page not in LONG])
@pytest.mark.usefixtures("quickly_compiled")
def test_the_blocks_of_a_page_run_in_their_order(page, project, dltrain):
    runner = Runner(project, dltrain, "short" if page in TRAINED else "composed")
    for block in blocks(page):
        runner.run(block)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS)
def test_the_blocks_of_a_page_run_as_they_are_written(page, project, dltrain):
    runner = Runner(project, dltrain, "whole")
    for block in blocks(page):
        runner.run(block)


@pytest.mark.parametrize("page", PAGES["pages"]())
def test_every_block_is_of_a_kind_that_is_run_or_shown(page):
    text = read(page)
    found = blocks(page)
    fences = re.findall(r"^```.*$", text, flags=re.M)
    directives = sum(fence.startswith("```{") for fence in fences)
    assert len(fences) == 2 * (len(found) + directives), "a fence is not understood"
    for block in found:
        assert block.language in PAGES["LANGUAGES"], f"line {block.line}: {block.language}"
        unknown = [m for m in block.marks if not re.match(r"(slow|not run: .+|output.*|figure: \S+)$", m)]
        assert not unknown, f"line {block.line}: {unknown}"


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS)
def test_commands_are_quoted_so_that_zsh_takes_them_too(page):
    for block in blocks(page):
        for command in block.commands if block.language == "bash" else ():
            assert not zsh_would_change(command), f"line {block.line}: {command}: needs quotes in zsh"


@pytest.mark.parametrize("page", PAGES["pages"]())
def test_commands_in_sentences_and_tables_are_quoted_for_zsh_too(page):
    for command in re.findall(r"`((?:dltrain|pip|python|tensorboard) [^`]*)`", read(page)):
        assert not zsh_would_change(command), f"{command}: needs quotes in zsh"


def zsh_would_change(command: str) -> bool:
    """Whether zsh takes a sign outside quotes for a pattern, a list, a home folder or a program's path."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
    return bool(re.search(r"[\[\]{}*?()^]|(?<!\S)[~=]\w", bare))


def test_what_zsh_would_change_is_noticed():
    for command in (
        "dltrain model.widths=[32]",
        "pip install .[test]",
        "dltrain optim.clip={norm: 1}",
        "cat ~/x *.y",
    ):
        assert zsh_would_change(command), command
    for command in ("dltrain 'model.widths=[32]' a=1,2", "pip install '.[test]'", 'dltrain "a=[1]"'):
        assert not zsh_would_change(command), command


def test_the_parser_sees_marks_files_and_continued_lines():
    text = "<!-- slow -->\n```bash\ndltrain a=1 \\\n  b=2\n# no\n```\n\n"
    yaml_file = "```yaml\n# conf/model/x.yaml\n# When\n_target_: y\n```\n"
    shell, file = PAGES["blocks"](text + yaml_file)
    assert shell.slow and shell.commands == ["dltrain a=1 b=2"] and not shell.not_run
    assert file.file == ("conf/model/x.yaml", "# When\n_target_: y\n") and not file.slow


def test_the_jobs_of_a_sweep_are_taken_apart():
    words = jobs("dltrain -m 'model.widths=[32,16],[64]' seed=0,1 quiet=true")
    assert words == [
        ["model.widths=[32,16]", "seed=0", "quiet=true"],
        ["model.widths=[64]", "seed=1", "quiet=true"],
    ]
    assert jobs("dltrain 'a=[1,2]'") == [["a=[1,2]"]]


def test_training_commands_are_told_from_others():
    for command in (
        "dltrain",
        "dltrain -m a=1,2",
        "dltrain 'a.b=[1]'",
        "dltrain train a=1",
        "dltrain --config-dir c a=1",
    ):
        assert TRAINS.match(command), command
    for command in ("dltrain list model", "dltrain resume a b=1", "dltrain a=1 --cfg job", "dltrain train --help"):
        assert not TRAINS.match(command), command


def test_a_command_that_fails_fails_its_page(project, dltrain):
    (block,) = PAGES["blocks"]("```bash\ndltrain optim.leraning_rate=1\n```\n")
    with pytest.raises(AssertionError, match=r"did you mean optim\.learning_rate"):
        Runner(project, dltrain, "short").run(block)
    (block,) = PAGES["blocks"]("```bash\nlynx page\n```\n")
    with pytest.raises(AssertionError, match="mark the block as not run"):
        Runner(project, dltrain, "short").run(block)
