"""Reads from a profiler trace how long the device was busy, and with which instructions.

A trace has planes, with lines, with events. On a GPU or TPU each device has a plane (`/device:GPU:0`), whose lines
are the streams (`Stream #14(...)`), or `XLA Ops`; its other lines repeat these. The CPU has the plane `/host:CPU`,
with one line per thread; events of XLA are those that name an instruction (`hlo_op`).
Tested with traces of a CPU from jax 0.10 and 0.12; the rest follows XLA's xplane_schema and is untested.
Hand-written, since xprof (2.24) has no per-operation table for CPU traces.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.profiler import ProfileData

from dltrain.profiling.hlo import Instruction, programs

UNKNOWN = Instruction("other", "", "", "")
COPY = Instruction("copy and transpose", "", "", "")  # between host and device, outside any program


@dataclass(frozen=True)
class Operation:
    """All executions of one instruction."""

    name: str
    program: str
    instruction: Instruction
    seconds: float  # self time, without nested operations
    count: int


@dataclass(frozen=True)
class Trace:
    """The work of the device between the first and the last instruction of a program."""

    seconds: float
    busy: float  # seconds with at least one running instruction
    operations: list[Operation]  # the most expensive first


@dataclass(frozen=True)
class _Event:
    start: float  # ns
    end: float
    name: str
    program: str
    number: str


def read_trace(path: Path, *, program: str) -> Trace:
    """Read an `.xplane.pb` file from the first to the last instruction of `program` (`jit_...`).

    Raises:
        ValueError: the program is not in the trace.
    """
    data = path.read_bytes()
    with warnings.catch_warnings():  # about types that jaxlib creates when stats are first read
        warnings.simplefilter("ignore", DeprecationWarning)
        lines = [list(_executed(line)) for line in _lines(ProfileData.from_serialized_xspace(data))]
    window = [event for line in lines for event in line if event.program == program]
    if not window:
        raise ValueError(f"{path} contains no events of {program}")
    start, end = min(e.start for e in window), max(e.end for e in window)
    lines = [[e for e in line if start <= e.start and e.end <= end] for line in lines]
    times: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        for event, seconds in _self_times(line):
            times[event.program, event.number, event.name].append(seconds)
    known = programs(data)
    operations = [
        Operation(name, module, _instruction(known, module, number, name), sum(seconds), len(seconds))
        for (module, number, name), seconds in times.items()
    ]
    return Trace(
        seconds=(end - start) / 1e9,
        busy=_covered((e.start, e.end) for line in lines for e in line) / 1e9,
        operations=sorted(operations, key=lambda operation: -operation.seconds),
    )


def _lines(profile: ProfileData) -> Iterator[Any]:
    planes = list(profile.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in devices or [plane for plane in planes if plane.name == "/host:CPU"]:
        lines = list(plane.lines)
        if devices:
            streams = [line for line in lines if line.name.startswith("Stream")]
            lines = streams or [line for line in lines if line.name == "XLA Ops"]
        yield from lines


def _executed(line: Any) -> Iterator[_Event]:
    """Yield the executed instructions: on CPU lines only events that name an instruction."""
    is_device = line.name.startswith(("Stream", "XLA Ops"))
    for event in line.events:
        if event.name.startswith(("$", "end: ")):  # Python functions; the end of work finished by another thread
            continue
        stats = dict(event.stats)
        if "hlo_op" in stats or is_device:
            name = stats.get("hlo_op") or event.name.split(" = ")[0].lstrip("%")
            where = stats.get("hlo_module", ""), str(stats.get("program_id", ""))
            yield _Event(event.start_ns, event.start_ns + event.duration_ns, str(name), *where)


def _self_times(events: Iterable[_Event]) -> Iterator[tuple[_Event, float]]:
    """Return each event of a line with its self time: the seconds not spent in nested events."""
    seconds: list[float] = []
    found: list[_Event] = []
    open_events: list[int] = []
    for event in sorted(events, key=lambda e: (e.start, -e.end)):
        while open_events and found[open_events[-1]].end <= event.start:
            open_events.pop()
        if open_events:
            seconds[open_events[-1]] -= (min(event.end, found[open_events[-1]].end) - event.start) / 1e9
        open_events.append(len(found))
        found.append(event)
        seconds.append((event.end - event.start) / 1e9)
    return zip(found, seconds, strict=True)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of some spans."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def _instruction(known: dict[str, dict[str, Instruction]], program: str, number: str, name: str) -> Instruction:
    if not program:
        return COPY if name.lower().startswith("mem") else UNKNOWN
    exact = known.get(f"{program}({number})")
    found = [exact] if exact else [k for n, k in known.items() if n.split("(")[0] == program]
    return next((instructions[name] for instructions in found if name in instructions), UNKNOWN)
