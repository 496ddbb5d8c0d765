"""Sweeps killed at random moments: no job is lost, none is trained twice, and the table is that of a whole sweep.

Either every process of the sweep is killed, or one that a launcher has started. Launchers whose plugin is not
installed are skipped; `docs/sweeps.md` says what to install.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

BASE = ("data=iris", "data.split_seed=7", "model=linear", "epochs=20", "checkpoint_every=10", "quiet=true")
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
    "grid": ("batch_size=8,16,32,64",),  # programs of their own
    "lanes": ("batch_size=16", *RATES),
    "tpe": (
        "batch_size=16",
        "sweep=tpe",
        "sweep.trials=4",
        "sweep.workers=1",
        "optim.learning_rate=interval(1e-3,1e-1)",
    ),
    **{name: ("batch_size=16", *RATES) for name in LAUNCHERS},
}
FORCED = """
import sys
import dltrain.sweep.train as sweeping
from dltrain.sweep.measure import Choice
sweeping.choose_lanes = lambda program, **about: Choice(about["begun"] or 4, 2, "as tested")
from dltrain.cli.main import main
sys.exit(main())
"""
PLAIN = "import sys; from dltrain.cli.main import main; sys.exit(main())"
MARK = "DLTRAIN_TEST_SWEEP"  # in the environment of every process of a sweep, also of those in other sessions


class Sweep:
    """A sweep in processes that can be found and killed."""

    def __init__(self, kind: str, cwd: Path, mark: str) -> None:
        self.kind, self.cwd, self.mark = kind, cwd, mark
        self.folder = cwd / "sweep"

    def start(self, *words: str) -> subprocess.Popen:
        program = FORCED if self.kind == "lanes" else PLAIN
        env = {**os.environ, MARK: self.mark, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
        command = [sys.executable, "-c", program, "-m", *words]
        with (self.cwd / "errors.txt").open("w") as errors:
            streams = {"stdout": subprocess.DEVNULL, "stderr": errors}
            return subprocess.Popen(command, cwd=self.cwd, env=env, start_new_session=True, **streams)

    def begin(self) -> subprocess.Popen:
        return self.start(*BASE, *WORDS[self.kind], *LAUNCHERS.get(self.kind, ()), "output_dir=sweep")

    def end(self, process: subprocess.Popen) -> int:
        return process.wait(timeout=300)

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
        held = [*self.folder.glob(".jobs/held-*/lock")]
        pids = {int(text) for path in held if (text := path.read_text().strip()).isdigit()}
        return [pid for pid in self.processes() if pid in pids]

    def kill(self) -> None:
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def go_on(self) -> None:
        """Type `dltrain -m --resume` until nothing is left."""
        end = time.monotonic() + 200
        while (self.folder / ".jobs").exists() or (self.kind == "tpe" and not (self.folder / "sweep.csv").exists()):
            code = self.end(self.start("--resume", "sweep", *LAUNCHERS.get(self.kind, ())))
            message = (self.cwd / "errors.txt").read_text()
            assert code == 0 or (code == 7 and time.monotonic() < end), message
            time.sleep(0.5 if code else 0)


def begun(sweep: Sweep) -> bool:
    return (sweep.folder / ("search.json" if sweep.kind == "tpe" else ".jobs/configs.json")).exists()


def check_equal(folder: Path, whole: Path) -> None:
    """Four runs, each complete, none with a step twice, and the same table to the last digit."""
    both = [
        {p.parent.name: json.loads(p.read_text())["hash"] for p in f.glob("*/summary.json")}
        for f in (folder, whole)
    ]
    assert both[0] == both[1] and len(both[0]) == 4
    for path in folder.glob("*/metrics.jsonl"):
        seen = [(row["split"], row["step"]) for row in map(json.loads, path.read_text().splitlines())]
        assert len(seen) == len(set(seen)), path
    assert (folder / "sweep.csv").read_text() == (whole / "sweep.csv").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep without a kill, and how long it trained."""
    found = {}

    def go(kind: str) -> tuple[Path, float]:
        if kind in LAUNCHERS and not importlib.util.find_spec(f"hydra_plugins.hydra_{kind.split('_')[0]}_launcher"):
            pytest.skip(f"hydra-{kind.split('_')[0]}-launcher is not installed")
        if kind not in found:
            sweep = Sweep(kind, tmp_path_factory.mktemp(kind), f"whole-{kind}-{os.getpid()}")
            process = sweep.begin()
            while not begun(sweep):
                assert process.poll() is None, (sweep.cwd / "errors.txt").read_text()
                time.sleep(0.01)
            began = time.monotonic()
            assert sweep.end(process) == 0, (sweep.cwd / "errors.txt").read_text()
            found[kind] = sweep.folder, time.monotonic() - began
            sweep.kill()
        return found[kind]

    return go


CASES = [(kind, "all") for kind in WORDS] + [(kind, "one") for kind in LAUNCHERS]


@pytest.mark.parametrize(("kind", "which"), CASES)
def test_a_sweep_killed_at_random_moments_loses_no_job_and_trains_none_twice(
    kind, which, whole, rng, tries, tmp_path, request
):
    folder, seconds = whole(kind)
    killed = again = 0
    while killed < tries(20):
        cwd = tmp_path / str(killed + again)
        cwd.mkdir()
        sweep = Sweep(kind, cwd, f"{kind}-{which}-{killed + again}-{os.getpid()}")
        process = sweep.begin()
        try:
            while not begun(sweep):
                assert process.poll() is None, (cwd / "errors.txt").read_text()
                time.sleep(0.01)
            if which == "all":
                time.sleep(rng.uniform(0, 0.9 * seconds))
                late = process.poll() is not None
                sweep.kill()
                process.wait()
            else:
                while process.poll() is None and not sweep.workers():
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, 0.3 * seconds))
                late = not (pids := sweep.workers())
                if pids:
                    os.kill(rng.choice(pids), signal.SIGKILL)
                code = sweep.end(process)  # 9: the launcher gave up; 0: it started another process
                assert code in (0, 9), (code, (cwd / "errors.txt").read_text())
                assert code == 0 or "dltrain -m --resume" in (cwd / "errors.txt").read_text()
            sweep.go_on()
            check_equal(sweep.folder, folder)
        finally:
            sweep.kill()
            process.wait()
        killed, again = killed + (not late), again + late
        print(f"{kind} {which}: {killed} kills, 0 lost, 0 twice", flush=True)
    request.node.user_properties.append(("killed", killed))
