"""Which cores and which accelerators a process that trains jobs gets, where several share one machine.

On a CPU each process gets its part of the threads, as `runtime.threads` in the config of its jobs, because bits
depend on it. Of the accelerators each process sees one. Ray and SLURM assign accelerators themselves.
"""

import contextlib
import math
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.errors import ConfigError

SHARE = 0.9  # of a device's memory for the jobs on it; the rest is for the driver
VISIBLE, FRACTION = "CUDA_VISIBLE_DEVICES", "XLA_CLIENT_MEM_FRACTION"
PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
OLD_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"  # jax refuses to start if both are set


@dataclass(frozen=True)
class Place:
    """What one process gets."""

    device: str  # as the environment names it
    fraction: float  # of the memory of this device

    @property
    def environment(self) -> dict[str, str]:
        """The variables that jax reads when it starts; memory is taken as it is used, since others may come."""
        return {VISIBLE: self.device, FRACTION: f"{self.fraction:.3f}", PREALLOCATE: "false"}


def assign(processes: int, devices: Sequence[str], *, memory: int | None = None, needed: int = 0) -> list[Place]:
    """Divide devices in turn among processes that run at the same time: each gets its own if there are enough.

    Args:
        processes: how many are wanted.
        devices: the devices.
        memory: of a device, in bytes; None: not known.
        needed: by one process, in bytes, as measured.

    Returns:
        A place for each process that fits; fewer than wanted if memory is short, since the others wait.

    Raises:
        ConfigError: not even one process fits on a device.
    """
    if not devices or processes < 1:
        return []
    most = math.ceil(processes / len(devices))
    if memory is not None and needed:
        fitting = int(SHARE * memory / needed)
        if not fitting:
            raise ConfigError(
                f"a job needs {needed:,} bytes, and {SHARE:.0%} of a device are {int(SHARE * memory):,}"
            )
        most = min(most, fitting)
    count = min(processes, most * len(devices))
    on = [sum(1 for n in range(count) if n % len(devices) == d) for d in range(len(devices))]
    return [Place(devices[n % len(devices)], round(SHARE / on[n % len(devices)], 3)) for n in range(count)]


def threads_each(cores: int, processes: int) -> int:
    """Return how many threads each process may use, so that all together have no more than the cores."""
    return max(1, cores // max(1, processes))


def at_a_time(launcher: str, settings: Mapping[str, Any], *, jobs: int, cores: int) -> int | None:
    """Return how many processes a launcher runs on this machine at the same time; None if it says so itself."""
    if launcher == "joblib":
        wanted = int(settings.get("n_jobs") or 1)
        return max(1, min(jobs, wanted if wanted > 0 else cores + 1 + wanted))
    return jobs if launcher == "submitit_local" else None


def visible_devices(environment: Mapping[str, str], *, nodes: Path = Path("/dev")) -> list[str]:
    """Name the GPUs that this process may use, without starting them."""
    if (given := environment.get(VISIBLE)) is not None:
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    found = [
        path.name.removeprefix("nvidia") for path in nodes.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)
    ]
    return sorted(found, key=int)


def devices_for(platform: str, environment: Mapping[str, str]) -> list[str]:
    """Name the GPUs for jobs with this `runtime.platform`."""
    return visible_devices(environment) if platform in ("auto", "gpu") else []


def take_place(places: Sequence[Place], folder: Path, environment: MutableMapping[str, str]) -> Any:
    """Take the first place that no other process has, until this process ends; returns what keeps it."""
    import fcntl

    for number, place in enumerate(places):
        handle = (folder / f"place-{number}").open("a")
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            environment.pop(OLD_FRACTION, None)
            environment.update(place.environment)
            return handle
        handle.close()
    return None
