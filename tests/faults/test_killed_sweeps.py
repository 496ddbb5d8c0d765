"""Sweeps killed again and again: no job is lost, none is trained twice, and the table is that of a whole sweep.

Each sweep is killed several times before it ends: while it starts, copies what an earlier one has trained, trains,
saves, and writes its table and figures.
Either every process of it is killed, or one that a launcher has started. Launchers whose plugin is not installed
are skipped; `docs/sweeps.md` says what to install.
"""

import contextlib
import glob
import importlib.util
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]

# A save takes longer than the steps between two of them, so a sweep lasts for several kills, and many hit a save.
BASE = ("checkpoint_every=5", "quiet=true")
IRIS = ("data=iris", "data.split_seed=7", "model=linear")
RATES = ("optim.learning_rate=0.01,0.1", "seed=0,1")
LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local",),
    "ray": (
        "hydra/launcher=ray",
        "hydra.launcher.ray.init.num_cpus=2",
        "hydra.launcher.ray.init.include_dashboard=false",
    ),
}
WORDS = {
    "grid": (*IRIS, "steps=100", "batch_size=8,16,32,64"),  # programs of their own
    "known": (*IRIS, "steps=100", "batch_size=8,12,16,24,32,64"),  # as "grid", whose jobs are copied
    "lanes": (*IRIS, "steps=100", "batch_size=16", *RATES),
    "tpe": (
        *IRIS,
        "steps=25",
        "batch_size=16",
        "sweep=tpe",
        "sweep.trials=14",  # from the 11th on, they follow from the results of those before
        "sweep.workers=1",
        "optim.learning_rate=interval(1e-3,1e-1)",
    ),
    "pbt": (
        "data=digits",
        "model=mlp",
        "model.widths=[32]",
        "epochs=8",
        "sweep=pbt",
        "sweep.trials=6",
        "sweep.interval=1",
        "optim.learning_rate=interval(1e-4,1e-1)",
    ),
    **{name: (*IRIS, "steps=100", "batch_size=16", *RATES) for name in LAUNCHERS},
}
JOBS = {"tpe": 14, "pbt": 6, "known": 6}  # the others have 4
FORCED = """
import sys
import dltrain.sweep.train as sweeping
from dltrain.sweep.measure import Choice
sweeping.choose_lanes = lambda program, **about: Choice(about["begun"] or 4, 2, "as tested", about["shares"] or 2)
from dltrain.cli.main import main
sys.exit(main())
"""
PLAIN = "import sys; from dltrain.cli.main import main; sys.exit(main())"
MARK = "DLTRAIN_TEST_SWEEP"  # in the environment of every process of a sweep, also of those in other sessions


PATIENCE = 900  # seconds for a command to end; one that hangs fails the test
FEWEST, MOST = 6, 9  # kills of one sweep
COPYING = 0.2  # seconds that the copy of a job takes, more or less


class Sweep:
    """A sweep in processes that can be found and killed."""

    def __init__(self, kind: str, cwd: Path, mark: str, earlier: Path | None = None) -> None:
        """Begin nothing; `earlier` is a sweep that has trained some of the jobs."""
        self.kind, self.cwd, self.mark = kind, cwd, mark
        self.earlier = f"sweep.known=[{earlier or ''}]"
        self.folder, self.jobs = cwd / "sweep", JOBS.get(kind, 4)
        self.launcher = LAUNCHERS.get(kind, ())
        self.process: subprocess.Popen | None = None
        self.known: set[Path] = set()  # checkpoints and summaries that are older than the process
        self.ended: dict[Path, int] = {}  # summary -> when it was written

    def start(self, *words: str) -> None:
        program = FORCED if self.kind == "lanes" else PLAIN
        env = {**os.environ, MARK: self.mark, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
        command = [sys.executable, "-c", program, "-m", *words]
        self.known = self.written()
        with (self.cwd / "errors.txt").open("w") as errors:
            streams = {"stdout": subprocess.DEVNULL, "stderr": errors}
            self.process = subprocess.Popen(command, cwd=self.cwd, env=env, start_new_session=True, **streams)

    def begin(self, *, resume: bool) -> None:
        """Type the command of the sweep, or what goes on with it."""
        if resume and self.begun:
            return self.start("--resume", "sweep", *self.launcher)
        again = ["overwrite=true"] if self.folder.exists() and not self.begun else []
        self.start(*BASE, self.earlier, *WORDS[self.kind], *self.launcher, "output_dir=sweep", *again)

    def end(self) -> int:
        return self.process.wait(timeout=PATIENCE)

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return (self.cwd / "errors.txt").read_text()

    @property
    def is_done(self) -> bool:
        """Whether the process has ended and left nothing to do, or found that one before it did."""
        code = self.process.returncode
        return code == 0 or (code == 2 and "all jobs of this sweep have ended" in self.said)

    @property
    def begun(self) -> bool:
        """Whether a killed sweep can be resumed: its jobs are planned, or have ended."""
        plan = "search.json" if self.kind == "tpe" else ".jobs/configs.json"
        return (self.folder / plan).exists() or bool(self.summaries())

    def find(self, pattern: str) -> list[Path]:
        """List paths; unlike `Path.glob`, also while folders vanish."""
        return [self.folder / name for name in glob.glob(pattern, root_dir=self.folder)]

    def summaries(self) -> list[Path]:
        return self.find("*/summary.json")

    def written(self) -> set[Path]:
        return {*self.find("*/checkpoints/step_*"), *self.summaries()}

    def saves(self) -> list[Path]:
        """The checkpoints that are being written."""
        return self.find("*/checkpoints/.writing_*")

    def copies(self) -> list[Path]:
        """The folders of jobs that have a part of what they copy."""
        begun = (path.parent for path in self.find("*/environment.json"))
        return [path for path in begun if not (path / "summary.json").exists()]

    def trains(self) -> bool:
        """Whether this process has saved anything."""
        return bool(self.written() - self.known)

    def is_trained(self) -> bool:
        return len(self.summaries()) == self.jobs

    def processes(self) -> list[int]:
        """All processes of this sweep, also those that its launcher has detached."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return [pid for pid in found if pid != os.getpid()]

    def workers(self) -> list[int]:
        """Those that train a job: they hold its lock."""
        held = [path.read_text().strip() for path in self.find(".jobs/held-*/lock")]
        pids = {int(text) for text in held if text.isdigit()}
        return [pid for pid in self.processes() if pid in pids]

    def kill(self) -> bool:
        """Kill all processes; tell whether the sweep was still going on."""
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return self.process is not None and self.process.wait() == -signal.SIGKILL

    def check_kept(self) -> None:
        """A job that has ended is not trained a second time."""
        now = {path: path.stat().st_mtime_ns for path in self.summaries()}
        assert self.ended.items() <= now.items(), self.said
        self.ended = now

    def wait_for(self, what: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait until it happens, the process ends, or the time is over."""
        end = time.monotonic() + seconds
        while self.lives and time.monotonic() < end and not what():
            time.sleep(0.01)


@dataclass(frozen=True)
class Whole:
    """A sweep without a kill: where it is, and the seconds that its parts took."""

    folder: Path
    starting: float  # until the first checkpoint
    training: float
    ending: float  # from the last summary to the end of the process
    earlier: Path | None = None  # the sweep from which it copies


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep of each kind without a kill."""
    found = {}

    def go(kind: str) -> Whole:
        if kind in LAUNCHERS and not importlib.util.find_spec(f"hydra_plugins.hydra_{kind.split('_')[0]}_launcher"):
            pytest.skip(f"hydra-{kind.split('_')[0]}-launcher is not installed")
        if kind not in found:
            earlier = go("grid").folder if kind == "known" else None
            sweep = Sweep(kind, tmp_path_factory.mktemp(kind), f"whole-{kind}-{os.getpid()}", earlier)
            times = [time.monotonic()]
            sweep.begin(resume=False)
            for happens in (sweep.trains, sweep.is_trained):
                sweep.wait_for(happens)
                times.append(time.monotonic())
            assert sweep.end() == 0, sweep.said
            times.append(time.monotonic())
            sweep.kill()
            found[kind] = Whole(sweep.folder, *(b - a for a, b in itertools.pairwise(times)), earlier)
            print(found[kind], flush=True)
        return found[kind]

    return go


def check_equal(sweep: Sweep, whole: Path) -> None:
    """All runs are there, each complete, none with a step twice; the table is the same to the last digit."""
    both = [
        {p.parent.name: json.loads(p.read_text())["hash"] for p in f.glob("*/summary.json")}
        for f in (sweep.folder, whole)
    ]
    assert both[0] == both[1] and len(both[0]) == sweep.jobs
    for path in sweep.folder.glob("*/metrics.jsonl"):
        rows, expected = (
            [(row["split"], row["step"]) for row in map(json.loads, file.read_text().splitlines())]
            for file in (path, whole / path.parent.name / path.name)
        )
        assert len(rows) == len(set(rows)) and rows == expected, path
    for name in ("sweep.csv", "pbt.json") if sweep.kind == "pbt" else ("sweep.csv",):
        assert (sweep.folder / name).read_text() == (whole / name).read_text()
    names = [{path.name for path in f.iterdir()} - {"lock"} for f in (sweep.folder, whole)]
    assert names[1] <= names[0] and ".jobs" not in names[0]


def choose_moments(kind: str, kills: int, rng: random.Random) -> list[str]:
    """Choose what the sweep is doing at each kill: the last one comes when all jobs are trained."""
    first = ["copy"] * (kills // 2) if kind == "known" else []
    others = [rng.choice(("start", "start", "training", "save")) for _ in range(kills - 1 - len(first))]
    return [*first, *others, "end"]


def wait_for_moment(moment: str, sweep: Sweep, whole: Whole, rng: random.Random) -> None:
    """Wait for a random moment of this kind, or until the sweep ends."""
    if moment == "start":
        return sweep.wait_for(lambda: False, rng.uniform(0, whole.starting))
    if moment == "end":
        sweep.wait_for(sweep.is_trained)
        return sweep.wait_for(lambda: False, rng.uniform(0, whole.ending))
    if moment == "copy":
        sweep.wait_for(sweep.copies)
        return sweep.wait_for(lambda: False, rng.uniform(0, COPYING))
    sweep.wait_for(sweep.trains)
    sweep.wait_for(lambda: False, rng.uniform(0, whole.training / 5))
    if moment == "save":
        sweep.wait_for(sweep.saves)


def go_on(sweep: Sweep) -> None:
    """Type `dltrain -m --resume` until nothing is left."""
    end = time.monotonic() + PATIENCE
    while True:
        sweep.begin(resume=True)
        code = sweep.end()
        sweep.check_kept()
        if sweep.is_done:
            return
        assert code == 7 and time.monotonic() < end, (code, sweep.said)  # a process is left behind, and trains on
        time.sleep(0.5)


def kill_all(sweep: Sweep, whole: Whole, most: int, rng: random.Random) -> list[str]:
    """Kill all processes up to `most` times, each time after it was started again; return at which moments."""
    hit = []
    for moment in choose_moments(sweep.kind, min(most, rng.randint(FEWEST, MOST)), rng):
        sweep.begin(resume=sweep.kind != "tpe" or rng.random() < 0.5)  # a search goes on by the same command, too
        wait_for_moment(moment, sweep, whole, rng)
        if not sweep.kill():
            assert sweep.is_done, (sweep.process.returncode, sweep.said)
            break
        hit.append(moment)
        sweep.check_kept()
    return hit


def kill_workers(sweep: Sweep, whole: Whole, most: int, rng: random.Random) -> list[str]:
    """Kill single workers up to `most` times; the launcher starts another one, or gives up and is started again."""
    hit: list[str] = []
    most, killed = min(most, rng.randint(FEWEST, MOST)), set()
    while len(hit) < most:
        sweep.begin(resume=True)
        while sweep.lives and len(hit) < most:
            sweep.wait_for(lambda: set(sweep.workers()) - killed)
            sweep.wait_for(lambda: False, rng.uniform(0, whole.training / 5))
            if pids := sorted(set(sweep.workers()) - killed):
                killed.add(pid := rng.choice(pids))
                os.kill(pid, signal.SIGKILL)
                hit.append("training")
        code = sweep.end()
        sweep.check_kept()
        if code == 0:
            break
        assert code in (7, 9), (code, sweep.said)  # 9: the launcher gave up; 7: it left a process behind
        assert code == 7 or "dltrain -m --resume" in sweep.said
    return hit


CASES = [(kind, "all") for kind in WORDS] + [(kind, "one") for kind in LAUNCHERS]


@pytest.mark.parametrize(("kind", "which"), CASES)
def test_a_sweep_killed_at_random_moments_loses_no_job_and_trains_none_twice(
    kind, which, whole, rng, tries, tmp_path, request
):
    uncut, kills, sweeps = whole(kind), Counter(), 0
    while kills.total() < tries(20):
        cwd = tmp_path / str(sweeps)
        cwd.mkdir()
        sweep = Sweep(kind, cwd, f"{kind}-{which}-{sweeps}-{os.getpid()}", uncut.earlier)
        kill = kill_all if which == "all" else kill_workers
        try:
            kills.update(kill(sweep, uncut, tries(20) - kills.total(), rng))
            go_on(sweep)
            check_equal(sweep, uncut.folder)
        finally:
            sweep.kill()
        sweeps += 1
        print(
            f"{kind} {which}: {kills.total()} kills of {sweeps} sweeps, {dict(kills)}: 0 lost, 0 twice", flush=True
        )
    request.node.user_properties.append(("killed", kills.total()))
