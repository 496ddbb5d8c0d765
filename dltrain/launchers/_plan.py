"""What launchers write and check before they start: the folder of a launch, the run, the words, the environment.

A launch has a folder of its own, outputs/<date>/<time>-<launcher>, with the script and the merged console. The run
is in `run` below it, unless the words name another place; a launch that is started again finds the run's
checkpoints there, and continues it.
"""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dltrain.devices.mesh import axis_sizes
from dltrain.durations import Duration
from dltrain.errors import ConfigError
from dltrain.runs.files import Files

PASSED = re.compile(r"(JAX|XLA|NCCL|DLTRAIN|LIBTPU)_\w+|PYTHONPATH")  # environment variables that a script repeats
SAFE = re.compile(r"[\w./-]+", re.ASCII)  # needs no quotes in an override
FORCE = "--xla_force_host_platform_device_count"
GROUP_NAME = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")  # of a job, everywhere


@dataclass(frozen=True)
class Plan:
    """What is launched."""

    folder: Path  # of the launch: script and console
    run: Path  # run folder
    first: tuple[str, ...]  # words of the first start
    again: tuple[str, ...]  # words of a start that finds a checkpoint

    @property
    def checkpoints(self) -> Path:
        """The folder whose step_* tell that there is something to continue."""
        return self.run / "checkpoints"

    @property
    def repeats(self) -> bool:
        """Whether every start has the same words: those of a resume, or of a training with runtime.elastic=true."""
        return self.first == self.again

    def words(self) -> tuple[str, ...]:
        """Return the words of a start now."""
        return self.again if any(self.checkpoints.glob("step_*")) else self.first

    def write(self, name: str, text: str) -> Path:
        """Write a file of the launch, and show it."""
        files = Files(self.folder)
        files.make()
        files.replace_text(name, text)
        path = self.folder / name
        print(f"# {path}\n{text}", flush=True)
        return path


def make_plan(words: Sequence[str], launcher: str, *, elastic: bool = False, now: datetime | None = None) -> Plan:
    """Plan a launch of `dltrain WORDS`, a training or a resume.

    Args:
        words: the command line.
        launcher: its name.
        elastic: `runtime.elastic` of the config: the words are those of each start.
        now: the time in the name of the folder.

    Raises:
        ConfigError: the run folder of a new training holds a run, or that of a resume is missing.
    """
    folder = _free(Path("outputs", f"{now or datetime.now():%Y-%m-%d/%H-%M-%S}-{launcher}").absolute())
    if "resume" in words:
        named = [word for word in words if word != "resume" and Path(word).is_dir()]
        if len(named) != 1:
            raise ConfigError("launch -- resume: name one run folder: -- resume outputs/DATE/TIME-NAME")
        run = Path(named[0]).absolute()
        again = tuple(str(run) if word == named[0] else word for word in words)
        return Plan(folder, run, again, again)
    chosen = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("output_dir=")]
    run = Path(chosen[-1]).absolute() if chosen else folder / "run"
    if not elastic and any(run.glob("checkpoints/step_*")):
        raise ConfigError(
            f"output_dir={run}: already contains a run; continue it with dltrain launch {launcher} ... -- "
            f"resume {run}, or with runtime.elastic=true"
        )
    kept = [word for word in words if not word.startswith("output_dir=")]
    trusted = [word for word in words if word.startswith("trust=")]
    first = (*kept, f"output_dir={quoted(run)}")
    return Plan(folder, run, first, first if elastic else ("resume", str(run), *trusted))


def _free(path: Path) -> Path:
    """Return the path, or one with a number behind it if it exists."""
    tried = (path.with_name(f"{path.name}-{number}") for number in range(2, 1000))
    return path if not path.exists() else next(one for one in tried if not one.exists())


def quoted(path: Path) -> str:
    """Write a path as the value of an override."""
    text = str(path)
    return text if SAFE.fullmatch(text) else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def exports(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables that the training gets, too: of jax, XLA, NCCL, and Python's path."""
    found = os.environ if environment is None else environment
    return {name: found[name] for name in sorted(found) if PASSED.fullmatch(name)}


def choose_words(plan: Plan, *, again: str = "") -> str:
    """Return lines of a shell script that set its arguments to the words: those of a new run, or of its resumption.

    Args:
        plan: the launch.
        again: shell words to add if a start before this one has left a run without a checkpoint.
    """
    if plan.repeats:
        return f"set -- {shlex.join(plan.again)}\n"
    return (
        f"if ls {shlex.quote(str(plan.checkpoints))}/step_* > /dev/null 2>&1; then\n"
        f"    set -- {shlex.join(plan.again)}\n"
        "else\n"
        f"    set -- {shlex.join(plan.first)}{' ' + again if again else ''}\n"
        "fi\n"
    )


def check_devices(config: Mapping[str, Any], *, processes: int, devices: int) -> None:
    """Raise ConfigError if the batch cannot be divided among processes with so many devices each.

    A batch of all examples (`batch_size=all`) is known only when the data is read.
    """
    size = config["batch_size"]
    if size != "all":
        examples = size // config["optim"]["accumulate"]
        axis_sizes(config["runtime"]["mesh"], examples, devices=processes * devices, processes=processes)


def fitting(config: Mapping[str, Any], most: int, *, devices: int) -> list[int]:
    """Return the numbers of processes, from `most` down, that `check_devices` does not refuse."""
    found = []
    for count in range(most, 0, -1):
        with contextlib.suppress(ConfigError):
            check_devices(config, processes=count, devices=devices)
            found.append(count)
    return found


def cpu_devices(environment: Mapping[str, str] | None = None) -> int:
    """Return the virtual devices that the environment gives to each process on a CPU."""
    flags = (os.environ if environment is None else environment).get("XLA_FLAGS", "").split()
    asked = [flag.partition("=")[2] for flag in flags if flag.startswith(f"{FORCE}=")]
    return int(asked[-1]) if asked and asked[-1].isdecimal() else 1


def text(value: Any, key: str) -> str:
    """Return a text that may be null in the YAML, or raise ConfigError."""
    if not isinstance(value, str | None) or "\n" in (value or ""):
        raise ConfigError(f"{key}={value}: must be text")
    return value or ""


def python() -> str:
    """Return the command of this Python, as a shell word."""
    return shlex.quote(sys.executable)


def read_time(text: str, key: str) -> int:
    """Read a time such as 2h in seconds, or raise ConfigError."""
    try:
        seconds = Duration.parse(text).seconds
    except ValueError:
        seconds = None
    if not seconds or seconds < 60:
        raise ConfigError(f"{key}={text}: must be a time of a minute or more: 2h, 90min")
    return int(seconds)


def check_name(name: str) -> None:
    """Raise ConfigError for a name that a cluster would refuse."""
    if not GROUP_NAME.fullmatch(name):
        raise ConfigError(f"name={name}: must be lower-case letters, digits and -, beginning with a letter")


def check_counts(options: Mapping[str, int], *names: str, low: int = 1) -> None:
    """Raise ConfigError for a number of hosts, GPUs or cores that is too small."""
    for name in names:
        if options[name] < low:
            raise ConfigError(f"{name}={options[name]}: must be at least {low}")
