"""How many lanes a group of jobs gets: what fits into memory, and what is faster than one run after the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.devices import memory
from dltrain.engine.feed import Resident

MOST = 64  # lanes
LEAST_GAIN = 1.2  # of lanes over one run after the other, below which they are not worth their rounding
SECONDS = 0.5  # of one chunk of lanes
TRIAL = 8  # steps
TRIALS = 3  # of which the fastest counts: other work on the machine only makes one slower


@dataclass(frozen=True)
class Choice:
    """How a group of jobs is trained."""

    lanes: int  # 1: one after the other, in one program
    steps: int  # of a chunk of lanes
    why: str  # for the user


def choose_lanes(
    program: Program, *, jobs: int, begun: int | None = None, least_gain: float = LEAST_GAIN
) -> Choice:
    """Measure one lane and several in a short trial.

    Args:
        program: that the jobs share.
        jobs: how many there are.
        begun: the number of lanes with which these jobs began, if they are resumed: it is kept.
        least_gain: how many times as fast lanes must be.
    """
    if begun:
        seconds = seconds_of_lanes(program, begun) if begun > 1 else SECONDS
        return Choice(begun, _steps(program, seconds), "as the jobs began")
    if reason := _impossible(program):
        return Choice(1, 0, reason)
    devices, room = len(program.by_device), memory.device_room()
    each = min(-(-jobs // devices), MOST)
    while each > 1 and _bytes(program, each) > room.bytes:
        each //= 2
    if (count := each * devices) < 2:
        return Choice(1, 0, f"two lanes do not fit into memory ({room})")
    one, several = seconds_alone(program.alone or program), seconds_of_lanes(program, count)
    used = min(count, jobs)
    gain = used * one / several
    where = f" on {devices} devices" if devices > 1 else ""
    shown = f"{1 / one:,.0f} steps/s alone, {used / several:,.0f} in {count} lanes{where}"
    if gain < least_gain:
        return Choice(1, 0, f"{shown}: {gain:.2f} times as fast is less than {least_gain}")
    return Choice(count, _steps(program, several), f"{shown}, {gain:.1f} times as fast")


def divide_lanes(program: Program, count: int) -> tuple[Program, ...]:
    """Return the program on each device that gets lanes: as many devices as divide their number evenly."""
    devices = program.by_device
    return devices[: max(n for n in range(1, len(devices) + 1) if count % n == 0)]


def _steps(program: Program, seconds: float) -> int:
    """Return the length of a chunk whose steps take so many seconds."""
    return int(np.clip(SECONDS / seconds, 1, program.capacity))


def _impossible(program: Program) -> str:
    if program.layout and program.layout.devices > program.layout.mesh.shape["data"]:
        return f"the parameters are divided over several devices ({program.layout})"
    if not isinstance(program.feed, Resident):
        return "the data is read ahead by threads of one run"
    if program.plan.profile:
        return "a profile shows one run"
    return program.by_device[0].untraceable() if program.differences.keys else ""


def _bytes(program: Program, count: int) -> int:
    """Compile the lanes of a device, and return the memory that they need; on a host, those of all its devices."""
    first, devices = program.by_device[0], len(program.by_device)
    counts = jax.ShapeDtypeStruct((count,), np.int32)
    given = (first.shapes,) * count, first.feed.shapes, (first.input_shapes,) * count, counts
    needed = memory.needed(first.lane_chunk.lower(*given).compile(), there=first.feed.in_place)
    return needed * (devices if memory.on_host() else 1)


def seconds_alone(program: Program) -> float:
    """Return the seconds of a step of one run."""

    def run(state: Any, steps: int) -> Any:
        return program.chunk(state, program.data, program.feed_chunk(0, steps), np.int32(steps))[0]

    return _seconds_per_step(run, program.start(), min(TRIAL, program.capacity))


def seconds_of_lanes(program: Program, count: int) -> float:
    """Return the seconds of a step of all lanes, which are divided among the devices."""
    shares = divide_lanes(program, count)
    each = count // len(shares)

    def run(states: Any, steps: int) -> Any:
        given = (shares[0].feed_chunk(0, steps),) * each
        counts = np.full(each, steps, np.int32)
        return [
            share.lane_chunk(own, share.data, given, counts)[0] for share, own in zip(shares, states, strict=True)
        ]

    states = [tuple(_start(share) for _ in range(each)) for share in shares]
    return _seconds_per_step(run, states, min(TRIAL, program.capacity))


def _start(program: Program) -> Any:
    with jax.default_device(program.device):
        return program.start()


def _seconds_per_step(run: Callable[[Any, int], Any], state: Any, steps: int) -> float:
    """Time the fastest of several chunks after the first one, which loads the program."""
    state = jax.block_until_ready(run(state, steps))
    found = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        state = jax.block_until_ready(run(state, steps))
        found.append(time.perf_counter() - began)
    return min(found) / steps
