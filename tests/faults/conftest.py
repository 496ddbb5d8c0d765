"""Fixtures of the tests of planted faults: real processes, and seeds that are printed.

`pytest tests/faults` is the quick set, `pytest -m faults tests/faults` the long one. FAULTS_SEED repeats a run,
FAULTS_TRIES sets how often a fault is planted, FAULTS_PART=1/3 takes a third of the cuts at system calls.
"""

import json
import os
import random
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Dropout, batch norm, a schedule and the order of the rows: whatever a resumed run could get wrong.
WORDS = (
    "data=iris",
    "data.split_seed=7",  # no two splits share a row, of which a line would warn
    "model.widths=[8]",
    "model.dropout=0.3",
    "model.norm=batch",
    "schedule=one_cycle",
    "batch_size=16",
    "eval_every=5",
    "log_every=1",
    "checkpoint_every=1",
    "runtime.platform=cpu",
)
TIMED = ("examples_per_second", "waiting")  # what no two runs share


@pytest.fixture(scope="session")
def words() -> tuple[str, ...]:
    """Overrides of a small run that saves at every step."""
    return WORDS


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test; FAULTS_SEED repeats them."""
    seed = os.environ.get("FAULTS_SEED") or secrets.token_hex(4)
    print(f"FAULTS_SEED={seed}")
    request.node.user_properties.append(("seed", seed))
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture(scope="session")
def tries() -> Callable[[int], int]:
    """`tries(100)` is 100 unless FAULTS_TRIES is set."""
    return lambda usual: int(os.environ.get("FAULTS_TRIES", usual))


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """`start("epochs=3", cwd=folder)` starts a dltrain process; it is killed at the end if it still runs."""
    started: list[subprocess.Popen] = []

    def run(*words: str, cwd: Path, before: tuple[str, ...] = (), env: dict | None = None) -> subprocess.Popen:
        command = [*before, sys.executable, "-m", "dltrain", *words]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=cwd, text=True, env=os.environ | (env or {}), **streams)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@dataclass(frozen=True)
class Clean:
    """The uninterrupted run."""

    folder: Path
    hash: str
    seconds: float  # of the whole process
    steps: int


def make_clean(cwd: Path, steps: int) -> Clean:
    """Train it in a separate process."""
    began = time.monotonic()
    command = [sys.executable, "-m", "dltrain", *WORDS, f"steps={steps}", "output_dir=clean"]
    subprocess.run(command, cwd=cwd, check=True, timeout=120, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    summary = json.loads((cwd / "clean" / "summary.json").read_text())
    return Clean(cwd / "clean", summary["hash"], seconds, steps)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """Forty steps with a checkpoint at each."""
    return make_clean(tmp_path_factory.mktemp("clean"), 40)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """As `clean`, with twelve steps: for faults that are planted in every test run."""
    return make_clean(tmp_path_factory.mktemp("short"), 12)


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a run folder, as their names say."""
    found = (folder / "checkpoints").glob("step_*/manifest.json")
    return sorted(int(re.fullmatch(r"step_(\d+)", p.parent.name)[1]) for p in found)


def rows(folder: Path) -> list[dict]:
    """The content of metrics.jsonl, without values that differ between equal runs."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMED} for row in found]


def curves(folder: Path) -> dict:
    """What TensorBoard's own reader finds: tag -> its points."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.endswith((*TIMED, "_peak_bytes"))]
    return {tag: [(p.step, p.value) for p in events.Scalars(tag)] for tag in tags}


@pytest.fixture
def same(dltrain) -> Callable[[Path, Clean], None]:
    """Assert that a run equals the clean one: its state, metrics and curves, with no step twice."""

    def check(folder: Path, clean: Clean) -> None:
        result = dltrain("hash", str(folder))
        assert (result.code, result.out.split()[0]) == (0, clean.hash), result.err
        found = rows(folder)
        seen = [(row["split"], row["step"]) for row in found]
        assert len(seen) == len(set(seen))
        assert found == rows(clean.folder)
        assert (folder / "results.csv").read_text() == (clean.folder / "results.csv").read_text()
        both = [json.loads((f / "summary.json").read_text()) for f in (folder, clean.folder)]
        for key in ("hash", "test", "validation", "best", "best_step", "steps", "epochs", "stop_reason"):
            assert both[0][key] == both[1][key], key
        assert curves(folder) == curves(clean.folder)

    return check


@pytest.fixture(scope="session")
def saved() -> Callable[[Path], list[int]]:
    """`saved(run)` lists the steps of its checkpoints."""
    return saved_steps


@pytest.fixture(scope="session")
def logged() -> Callable[[Path], list[dict]]:
    """`logged(run)` reads its metrics.jsonl."""
    return rows


@pytest.fixture(scope="session")
def plotted() -> Callable[[Path], dict]:
    """`plotted(run)` reads its curves as TensorBoard does."""
    return curves
