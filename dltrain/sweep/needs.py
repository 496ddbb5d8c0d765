"""What a job needs of a GPU's memory, as the jobs of a sweep that have ended measured it, and how many fit.

Each process of a sweep notes its peak in the folder of the sweep when a job ends, so a resumed sweep knows it.
A CPU notes nothing: its processes share the machine's memory, which the system divides.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dltrain.runs.files import Files
from dltrain.runs.sweep_files import JOBS
from dltrain.sweep.assignment import SHARE, assign

MARGIN = 1.25  # times the peak: the allocator cannot use every gap, and the next job may be a little larger
CONTEXT = 512 * 2**20  # bytes of a process besides its arrays: CUDA's context, and the workspaces of its libraries
NAME = "needs-{}.json"


@dataclass(frozen=True)
class Need:
    """The largest need of a job so far."""

    peak: int  # bytes of its arrays and temporary values
    memory: int  # bytes of a device

    @property
    def bytes(self) -> int:
        """What a process is given room for; never more than the device has for one."""
        return min(int(MARGIN * self.peak) + CONTEXT, int(SHARE * self.memory))


def write_need(sweep: Path, number: int, need: Need) -> None:
    """Note what a job needed; each has a file of its own, since several processes write."""
    about = {"peak": need.peak, "memory": need.memory}
    (Files(sweep) / JOBS).replace_json(NAME.format(number), about)


def read_need(sweep: Path) -> Need | None:
    """Return the largest peak on the smallest device; None if nothing has been measured."""
    found = []
    for path in (sweep / JOBS).glob(NAME.format("*")):
        saved = json.loads(path.read_text(encoding="utf-8"))
        found.append(Need(int(saved["peak"]), int(saved["memory"])))
    return Need(max(n.peak for n in found), min(n.memory for n in found)) if found else None


def at_once(wanted: int, devices: Sequence[str], sweep: Path, *, ended: bool = False) -> int:
    """Return how many of the wanted processes may run on these devices now.

    Each device has one process until a job has been measured, then as many as its memory holds.

    Args:
        wanted: how many processes the user wants.
        devices: the devices.
        sweep: the folder of the sweep.
        ended: whether a job has ended. If it has, and nothing is measured, these devices report no memory.
    """
    if wanted <= len(devices) or not devices:
        return wanted
    need = read_need(sweep)
    if need is None:
        return wanted if ended else len(devices)
    return len(assign(wanted, devices, memory=need.memory, needed=need.bytes))


def describe_need(need: Need, processes: int, devices: int) -> str:
    """Say how many processes run at a time, and why."""
    peak, memory = (f"{count / 2**30:.1f} GiB" for count in (need.peak, need.memory))
    gpus = f"{devices} GPU{'s' * (devices > 1)}"
    return f"a job has used {peak} of {memory} on a GPU: {processes} processes at a time on {gpus}"
