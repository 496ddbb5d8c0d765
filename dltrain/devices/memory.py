"""The free memory of device and host, and the memory that a compiled program needs."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from dltrain.errors import MemoryExhausted

SHARE = 0.4  # of the free memory for the data set; the rest is for the model and its activations
COPIES = 2  # of the state on the host while a checkpoint is written (98 MiB of state took 224 MiB)
GIB = 2**30
FRACTIONS = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
USUAL_FRACTION = 0.75  # of a GPU's memory, which jax uses if the environment sets none


@dataclass(frozen=True)
class Room:
    """Free memory in bytes, and what limits it."""

    bytes: int
    limit: str

    def __str__(self) -> str:
        """Format it for a message."""
        return f"{shown(max(0, self.bytes))} {self.limit}"


def room_for_data() -> int:
    """Return the number of bytes of data that may stay on the device."""
    return int(SHARE * device_room().bytes)


def device_room() -> Room:
    """Return the free memory of a device; of the host if the device is the CPU."""
    if on_host():
        return host_room()
    stats = jax.local_devices()[0].memory_stats() or {}
    return Room(stats["bytes_limit"] - stats.get("bytes_in_use", 0), "of the device's memory")


def on_host() -> bool:
    """Tell whether the memory of the host counts: the device is the CPU, or does not report its memory."""
    return "bytes_limit" not in (jax.local_devices()[0].memory_stats() or {})


def host_room() -> Room:
    """Return the free memory of this process: the minimum over machine, control groups and rlimits."""
    return min([_of_machine(), *_of_groups(), *_of_rlimits()], key=lambda room: room.bytes)


def check_gathered(state: Any) -> None:
    """Raise MemoryExhausted if a whole state, which several processes gather for a checkpoint, does not fit."""
    if (needed := COPIES * size(state)) > (room := host_room()).bytes:
        raise MemoryExhausted(
            f"checkpoints need {shown(needed)} on each host, since some processes do not see the run folder, and "
            f"there are {room}; choose an output_dir that all of them see"
        )


def needed(compiled: jax.stages.Compiled, *, there: int = 0) -> int:
    """Return the peak number of bytes on a device of a call of a compiled program, including its arguments.

    CPU devices share the memory of the host: for them it is the sum over all devices. `there` is the number of
    bytes of the arguments that are already in memory.
    """
    found = compiled.memory_analysis()
    if found is None:
        return 0
    taken = found.argument_size_in_bytes - there + found.output_size_in_bytes - found.alias_size_in_bytes
    each = taken + found.temp_size_in_bytes + found.generated_code_size_in_bytes
    devices = {d for s in jax.tree.leaves(compiled.output_shardings) for d in s.device_set}
    shared = [d for d in devices if d.platform == "cpu" and d.process_index == jax.process_index()]
    return each * max(1, len(shared))


def peak() -> dict[str, int]:
    """Return the peak memory so far in bytes: `host`, and `device` if it reports it."""
    found = {}
    try:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["host"] = most if sys.platform == "darwin" else 1024 * most  # macOS counts bytes, Linux KiB
    except ImportError:  # not POSIX
        pass
    stats = jax.local_devices()[0].memory_stats() or {}
    return found | ({"device": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {})


def device_use(
    stats: Mapping[str, int] | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[int, int] | None:
    """Return the peak of this process on a device and the memory of that device, in bytes.

    None if the device, such as a CPU, does not report them. jax's limit is a share of the memory, which the
    environment sets.

    Args:
        stats: as jax reports them for a device; None: those of the first device.
        environment: that jax started with.
    """
    found = stats if stats is not None else jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" not in found or "bytes_limit" not in found:
        return None
    share = next((float(environment[name]) for name in FRACTIONS if environment.get(name)), USUAL_FRACTION)
    return found["peak_bytes_in_use"], int(found["bytes_limit"] / share)


def size(tree: Any) -> int:
    """Return the bytes of a tree of arrays or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def shown(count: int) -> str:
    """Format bytes: 12.3 MiB."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"


def _of_machine() -> Room:
    found = _numbers(Path("/proc/meminfo"), ("MemAvailable:",))
    if found:
        return Room(1024 * found[0], "of the machine's memory")
    return Room(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "of the machine's memory")


def _of_groups(root: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")) -> Iterable[Room]:
    """Yield the free memory of the control groups of this process and their parents; reclaimable pages are free."""
    try:
        own = of_process.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    inside = [Path(line.split(":", 2)[2].lstrip("/")) for line in own]
    folders = {root / place for path in inside for place in (path, *path.parents)}
    folders |= {root / "memory" / place for path in inside for place in (path, *path.parents)}
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for folder in folders:
        for limit, usage in names:
            try:
                most, now = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, usage))
            except (OSError, ValueError):  # no such group, or "max"
                continue
            droppable = sum(_numbers(folder / "memory.stat", ("inactive_file",)))
            yield Room(most - now + droppable, f"of what the control group allows ({folder / limit})")


def _of_rlimits() -> Iterable[Room]:
    try:
        import resource
    except ImportError:
        return
    for name, used in (("RLIMIT_AS", "VmSize:"), ("RLIMIT_DATA", "VmData:")):
        most = resource.getrlimit(getattr(resource, name))[0]
        if most != resource.RLIM_INFINITY:
            now = sum(_numbers(Path("/proc/self/status"), (used,)))
            yield Room(most - 1024 * now, f"of what ulimit allows ({name})")


def _numbers(path: Path, words: tuple[str, ...]) -> list[int]:
    """Read the numbers after these first words of the lines of a file; [] if the file does not exist."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []
    return [int(line[1]) for line in lines if len(line) > 1 and line[0] in words]
