"""Read the code blocks of the documentation, and refresh what they print: `python scripts/pages.py [PAGE ...]`.

The tests run every block (`tests/docs/test_blocks.py`). This script runs a page's blocks in a temporary folder,
from top to bottom, writes what they print into the ```text blocks that are marked so, and copies the figures they
leave into docs/_static/. HTML comments before a block say how to treat it:

    <!-- slow -->                 takes long: the default suite only composes its config
    <!-- not run: REASON -->      a test cannot run it (it installs something, or needs a GPU)
    <!-- output -->               the text block below is what the shell block above it prints
    <!-- output: FIRST .. LAST -->  only its lines from one that begins with FIRST to one that begins with LAST
    <!-- figure: PATH -->         the image below is a copy of that file of the run

A ```python or ```yaml block whose first line is a comment with a path is written to that path.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WRITTEN = ("docs/reference/", "docs/catalogue.md")  # by scripts/reference.py and scripts/catalogue.py
LANGUAGES = ("bash", "python", "yaml", "toml", "text")
BLOCK = re.compile(r"(?P<marks>(?:<!--[^\n]*-->\n+)*)^```(?P<language>\w*)\n(?P<code>.*?)^```$", flags=re.S | re.M)
DIRECTIVE = re.compile(r"^```{.*?^```$", flags=re.S | re.M)
PATH = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, the comments before it, and the line it starts at."""

    language: str
    code: str
    marks: tuple[str, ...]
    line: int

    @property
    def slow(self) -> bool:
        """Whether it takes long."""
        return "slow" in self.marks

    @property
    def not_run(self) -> str:
        """Return why a test cannot run it, or ''."""
        return next((mark.partition(":")[2].strip() for mark in self.marks if mark.startswith("not run")), "")

    @property
    def file(self) -> tuple[str, str] | None:
        """Return path and content, where the block is a file."""
        found = PATH.match(self.code)
        return (found[1], self.code[found.end() :]) if found else None

    @property
    def commands(self) -> list[str]:
        """Return the shell commands, continued lines joined, comments left out."""
        lines = re.sub(r"\\\n\s*", "", self.code).splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def pages() -> list[str]:
    """Name every page with blocks of its own, relative to the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return [name for name in names if not name.startswith(WRITTEN)]


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page from top to bottom, but for directives of Sphinx such as {toctree}."""
    text = DIRECTIVE.sub(lambda found: "\n" * found[0].count("\n"), text)
    for found in BLOCK.finditer(text):
        marks = re.findall(r"<!--\s*(.*?)\s*-->", found["marks"])
        yield Block(
            found["language"], found["code"], tuple(marks), text.count("\n", 0, found.start("language")) + 1
        )


def write_file(block: Block, folder: Path) -> None:
    """Write a block that is a file to its path below the folder."""
    assert block.file
    path, content = block.file
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(content, encoding="utf-8")


def refresh(page: str) -> None:
    """Run a page, and write what it prints and draws back into it."""
    text = before_running = (ROOT / page).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder, printed = Path(name), ""
        replaced: list[tuple[str, str]] = []
        names: dict[str, Any] = {}  # what the Python blocks of a page share
        for block in blocks(text):
            marked = next((mark for mark in block.marks if mark.startswith("output")), None)
            if block.file:
                write_file(block, folder)
            elif block.language == "bash" and not block.not_run:
                printed = "".join(_run(command, folder) for command in block.commands)
            elif block.language == "python" and not block.not_run:
                printed = _execute(block.code, folder, names)
            elif block.language == "text" and marked is not None:
                replaced.append((f"```text\n{block.code}```", f"```text\n{_part(printed, marked)}```"))
        for before, after in replaced:
            text = text.replace(before, after, 1)
        for run_file, image in re.findall(r"<!-- figure: (\S+) -->\n+!\[[^\]]*\]\(([^)]+)\)", text):
            shutil.copyfile(folder / run_file, (ROOT / page).parent / image)
    now = (ROOT / page).read_text(encoding="utf-8")
    if now != before_running:
        raise SystemExit(f"{page} changed while its commands ran; run this again")
    (ROOT / page).write_text(text, encoding="utf-8")


def _run(command: str, folder: Path) -> str:
    words = command.replace("dltrain ", f"{shlex.quote(sys.executable)} -m dltrain ", 1)
    words = words if command.startswith("dltrain ") else command
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}."}
    done = subprocess.run(["bash", "-euc", words], cwd=folder, capture_output=True, text=True, env=environment)
    print(f"{done.returncode}  {command}", flush=True)
    if done.returncode:
        print(done.stderr, flush=True)
    return (done.stdout + (done.stderr if done.returncode else "")).replace(f"{folder}/", "")


def _execute(code: str, folder: Path, names: dict[str, Any]) -> str:
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return out.getvalue()


def _part(printed: str, mark: str) -> str:
    lines = printed.splitlines()
    first, _, last = mark.partition(":")[2].strip().partition("..")
    begin = next((i for i, line in enumerate(lines) if line.startswith(first.strip())), 0)
    ends = [i for i, line in enumerate(lines) if last.strip() and line.startswith(last.strip()) and i >= begin]
    return "".join(f"{line.rstrip()}\n" for line in lines[begin : ends[0] + 1 if ends else None])


if __name__ == "__main__":
    for page in sys.argv[1:]:
        refresh(page)
