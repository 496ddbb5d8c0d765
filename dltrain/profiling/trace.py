"""Reads what a profiler's trace says of the device: how long it was busy, and with which instructions.

A trace is planes of lines of events. On a GPU or TPU each device has a plane (`/device:GPU:0`), whose lines are the
streams (`Stream #14(...)`), or `XLA Ops`; its other lines say the same once more. The processor has the plane
`/host:CPU`, with a line for each thread; what XLA runs there are the events that name an instruction (`hlo_op`).
The processor's was seen with jax 0.10 and 0.12; for the others this follows XLA's xplane_schema and is untried.
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
COPY = Instruction("copy and transpose", "", "", "")  # between host and device: no instruction of a program


@dataclass(frozen=True)
class Operation:
    """All executions of one instruction."""

    name: str
    program: str
    what: Instruction
    seconds: float  # of its own, without what was executed inside it
    count: int


@dataclass(frozen=True)
class Trace:
    """What the device did between the first and the last instruction of a program."""

    seconds: float
    busy: float  # of these, with at least one instruction at work
    operations: list[Operation]  # the most expensive first


@dataclass(frozen=True)
class _Event:
    start: float  # ns
    end: float
    name: str
    program: str
    number: str


def read_trace(path: Path, *, program: str) -> Trace:
    """Read an `.xplane.pb` file; the time begins and ends with instructions of `program` (`jit_...`).

    Raises:
        ValueError: the program is not in the trace.
    """
    data = path.read_bytes()
    with warnings.catch_warnings():  # of the types that jaxlib makes when stats are first read
        warnings.simplefilter("ignore", DeprecationWarning)
        lines = [list(_executed(line)) for line in _lines(ProfileData.from_serialized_xspace(data))]
    window = [event for line in lines for event in line if event.program == program]
    if not window:
        raise ValueError(f"{path} holds nothing of {program}")
    start, end = min(e.start for e in window), max(e.end for e in window)
    lines = [[e for e in line if start <= e.start and e.end <= end] for line in lines]
    own: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        for event, seconds in _own_times(line):
            own[event.program, event.number, event.name].append(seconds)
    known = programs(data)
    operations = [
        Operation(name, made, _instruction(known, made, number, name), sum(times), len(times))
        for (made, number, name), times in own.items()
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
    """Find what was executed: on the processor's lines only events that name their instruction."""
    is_device = line.name.startswith(("Stream", "XLA Ops"))
    for event in line.events:
        if event.name.startswith(("$", "end: ")):  # Python's functions; the end of what another thread finished
            continue
        stats = dict(event.stats)
        if "hlo_op" in stats or is_device:
            name = stats.get("hlo_op") or event.name.split(" = ")[0].lstrip("%")
            where = stats.get("hlo_module", ""), str(stats.get("program_id", ""))
            yield _Event(event.start_ns, event.start_ns + event.duration_ns, str(name), *where)


def _own_times(events: Iterable[_Event]) -> Iterator[tuple[_Event, float]]:
    """Return each event of a line with the seconds that no event inside it took."""
    own: list[float] = []
    found: list[_Event] = []
    around: list[int] = []
    for event in sorted(events, key=lambda e: (e.start, -e.end)):
        while around and found[around[-1]].end <= event.start:
            around.pop()
        if around:
            own[around[-1]] -= (min(event.end, found[around[-1]].end) - event.start) / 1e9
        around.append(len(found))
        found.append(event)
        own.append((event.end - event.start) / 1e9)
    return zip(found, own, strict=True)


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
