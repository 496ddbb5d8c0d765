"""Runs of several processes on this machine: started, watched, and ended after a hard time limit."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from dltrain.devices.hosts import free_port

SMALL = (
    *("data=iris", "model=mlp", "model.widths=[16]", "batch_size=24", "log_every=1", "eval_every=25"),
    *("checkpoint_every=25", "runtime.cache=false"),
)
LONG = (*SMALL, "steps=100000000", "log_every=1000", "eval_every=2000", "checkpoint_every=2000")
COMPOSED = {"batch_size": 64, "optim": {"accumulate": 1}, "runtime": {"elastic": False, "mesh": "auto"}}
ELASTIC = {**COMPOSED, "runtime": {"elastic": True, "mesh": "auto"}}
"""What launchers read of a config."""

LIMIT = 150.0  # seconds


@dataclass
class Processes:
    """The processes of a run, by their number, and the folder with what each printed."""

    started: list[subprocess.Popen[bytes]]
    output: Path

    def wait(self, *, seconds: float = LIMIT) -> list[int]:
        """Return all exit codes; raise if one has not ended after `seconds`."""
        until = time.monotonic() + seconds
        return [one.wait(max(0.1, until - time.monotonic())) for one in self.started]

    def printed(self, index: int) -> str:
        return (self.output / f"{index}.txt").read_text(errors="replace")


@contextlib.contextmanager
def processes(
    count: int,
    *words: str,
    output: Path,
    flags: str = "",
    heartbeat: int = 10,
    program: tuple[str, ...] = ("-m", "dltrain"),
) -> Generator[Processes]:
    """Start `count` processes of `dltrain WORDS`; what is left of them is killed at the end.

    `program` is what Python runs, such as a script that changes dltrain before it calls it.
    """
    output.mkdir(parents=True, exist_ok=True)
    address, started = f"127.0.0.1:{free_port()}", []
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1", "XLA_FLAGS": flags}
    environment.pop("PYTEST_CURRENT_TEST", None)
    try:
        for index in range(count):
            place = f"{{coordinator: '{address}', count: {count}, index: {index}, local: true}}"
            command = [sys.executable, *program, *words, f"runtime.hosts={place}"]
            with (output / f"{index}.txt").open("wb") as file:
                started.append(
                    subprocess.Popen(
                        [*command, f"runtime.heartbeat={heartbeat}"],
                        env=environment,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        yield Processes(started, output)
    finally:
        for one in started:
            one.kill()
            one.wait()


def trainings(folder: Path) -> list[int]:
    """Return the processes of a launched run that trains into a folder, but not those that started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            text, program = path.read_bytes().decode(errors="replace"), (path.parent / "exe").readlink().name
            if f"output_dir={folder}" in text and "runtime.hosts=" in text and program.startswith("python"):
                found.append(int(path.parent.name))
    return sorted(found)


def losses(folder: Path) -> dict[int, float]:
    """Return the training loss of each step that is recorded."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if row["split"] == "train"}


def steps_saved(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (folder / "checkpoints").glob("step_*"))


def wait_for(folder: Path, started: Processes, *, after: int = 0, seconds: float = LIMIT) -> None:
    """Wait until a checkpoint after a step is there; raise if a process ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (folder / "checkpoints").is_dir() and any(step > after for step in steps_saved(folder)):
            return
        if ended := [i for i, one in enumerate(started.started) if one.poll() is not None]:
            raise AssertionError(f"process {ended[0]} ended: {started.printed(ended[0])}")
        time.sleep(0.05)
    raise AssertionError("no checkpoint")
