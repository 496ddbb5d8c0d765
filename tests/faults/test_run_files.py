"""Random damage to the files of run folders: an error that names it, never a crash, a hang or a wrong result.

Commands run in this process. `FAULTS_SEED` repeats a series, `FAULTS_TRIES` sets its length.
"""

import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from few import few

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")

COMMANDS = (
    ("hash",),
    ("verify",),
    ("evaluate", "split=all"),
    ("evaluate", "checkpoint=last"),
    ("resume",),
    ("resume", "steps=5"),
)
QUICK = COMMANDS[:2]  # which train nothing: three tries out of four by default
LONGEST = 60  # seconds


@dataclass(frozen=True)
class Made:
    """An undamaged run, and what each command prints for it, with its summary and without."""

    folder: Path
    out: dict[tuple[str, ...], set[str]]


def named(text: str, folder: Path) -> str:
    """Leave out what depends on where the folder is, and on time."""
    text = text.replace(str(folder), "RUN")
    return re.sub(r"[\d,.]+ (s|ms|MiB|GiB|examples/s)\b", "N", text)


@pytest.fixture(scope="module")
def made(dltrain, tmp_path_factory) -> Made:
    cwd = tmp_path_factory.mktemp("run_files")
    words = (
        "data=iris",
        "data.split_seed=7",
        "model.widths=[4]",
        "batch_size=16",
        "log_every=1",
        "eval_every=2",
        "quiet=true",
    )
    said = dltrain(
        *words, "steps=4", "checkpoint_every=2", "keep_every=2", "output_dir=run", cwd=cwd, figures=False
    )
    assert said.code == 0, said.err
    out = {}
    for line, without in [*((line, ()) for line in COMMANDS), (("resume",), ("summary.json",))]:
        copy = shutil.copytree(cwd / "run", cwd / "copy", ignore=shutil.ignore_patterns(*without))
        said = dltrain(line[0], str(copy), *line[1:], figures=False)
        assert (said.code, said.err) == (0, ""), said
        out.setdefault(line, set()).add(named(said.out, copy))
        shutil.rmtree(copy)
    return Made(cwd / "run", out)


def truncate(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(max(1, path.stat().st_size))])


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    for _ in range(rng.choice([1, 1, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def insert(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    place = rng.randrange(len(content) + 1)
    junk = rng.choice(
        [rng.randbytes(5), b"\xff\xfe", b"\0", b"\n", b"  ", b"{", b"]", b": ", b"'", b"&a *a", b"${x}"]
    )
    path.write_bytes(content[:place] + junk + content[place:])


def replace(path: Path, rng: random.Random) -> None:
    contents = ["", "[1]", "3", "null", "{}", "text", '{"step": "x"}', "- a\n- b", "\ufeff{}", "true", "[" * 5000]
    path.write_text(rng.choice(contents), encoding="utf-8")


def drop_line(path: Path, rng: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def double_line(path: Path, rng: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        place = rng.randrange(len(lines))
        lines.insert(rng.randrange(len(lines)), lines[place])
    path.write_bytes(b"".join(lines))


VALUES = (
    None,
    True,
    0,
    -1,
    3,
    1e30,
    10**30,
    float("nan"),
    "",
    "x",
    "${seed}",
    "${oc.env:NO}",
    [],
    [1],
    {},
    {"a": 1},
)


def set_value(path: Path, rng: random.Random) -> None:
    """Set one value of a JSON or YAML file to something else, of whatever type."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError):  # an earlier damage may have nested it
        return flip(path, rng)
    places = list(containers(content))
    if not places:
        return replace(path, rng)
    container = rng.choice(places)
    key = rng.choice(list(container)) if isinstance(container, dict) else rng.randrange(len(container))
    action = rng.randrange(4)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
    else:
        container[key] = rng.choice(VALUES)
    as_json = path.suffix == ".json" or path.name == "overrides.yaml"
    path.write_text(json.dumps(content) if as_json else yaml.safe_dump(content), encoding="utf-8")
    return None


def containers(node: Any):
    if isinstance(node, dict | list) and node:
        yield node
        for inner in node.values() if isinstance(node, dict) else node:
            yield from containers(inner)


def delete(path: Path, rng: random.Random) -> None:
    path.unlink()


def as_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inside").write_text("x")


def as_fifo(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def as_link(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice([path.name, "nowhere", "..", "config.yaml"]))


def swap(path: Path, rng: random.Random) -> None:
    """Exchange it with another file of the run."""
    root = next(p for p in path.parents if p.name.startswith("run"))
    other = rng.choice(files_of(root))
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


DAMAGE: list[Callable[[Path, random.Random], None]] = [
    truncate, flip, insert, replace, drop_line, double_line, set_value, set_value, set_value, delete, as_folder,
    as_fifo, as_link, swap,
]  # fmt: skip
MOST = ("config.yaml", "overrides.yaml", "data.json", "model.json", "metrics.jsonl", "summary.json", "saved.json")


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file() and "tensorboard" not in p.parts)


def damage(folder: Path, rng: random.Random) -> list[str]:
    """Damage one file, sometimes two; files that dltrain reads again more often than others."""
    done = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        files = files_of(folder)
        often = [p for p in files if p.parent == folder and p.name in MOST]
        path = rng.choice(often if often and rng.random() < 0.75 else files)
        what = rng.choice(DAMAGE)
        what(path, rng)
        done.append(f"{what.__name__} {path.relative_to(folder)}")
    return done


@pytest.fixture
def mutate(made, dltrain, rng, tmp_path, count):
    """`mutate(times, lines)` damages copies of the run, and runs one of `lines(i)` on the i-th."""

    def go(times: int, lines: Callable[[int], tuple[tuple[str, ...], ...]] = lambda i: COMMANDS) -> None:
        names = {p.name for p in made.folder.rglob("*")} | {"checkpoint", "metrics.damaged.jsonl", str(tmp_path)}
        for i in range(times):
            folder = shutil.copytree(made.folder, tmp_path / f"run{i}")
            done = damage(folder, rng)
            line = rng.choice(lines(i))
            count.tried += 1
            began = time.monotonic()
            said = dltrain(line[0], str(folder), *line[1:])
            story = f"try {i}: {', '.join(done)}; {' '.join(line)}: {said}"
            assert time.monotonic() - began < LONGEST, story
            assert said.code in (0, 2, 3, 4, 5, 6, 7, 8), story
            assert "Traceback" not in said.err and "internal error" not in said.err, story
            if said.code:
                assert any(name in said.err for name in names) or re.search(r"\b\w+(\.\w+)*[=:]", said.err), story
            elif not said.err:  # nothing is wrong with what it read: the result is that of the undamaged run
                assert named(said.out, folder) in made.out[line], story
            count.note(refused=said.code > 0, reported=said.code == 0 and said.err != "")
            count.survived += 1
            shutil.rmtree(folder)

    return go


@pytest.mark.timeout(240)
@few("times", [40, 100])
def test_some_damages_of_run_folders(mutate, times):
    mutate(times, lambda i: COMMANDS[2:] if i % 4 == 0 else QUICK)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_two_thousand_damages_of_run_folders(mutate, tries):
    mutate(tries(2000))
