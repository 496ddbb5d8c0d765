"""How many lanes a group of jobs gets: what fits into memory, and what is faster than one run after the other."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.devices import memory, runtime
from dltrain.engine.feed import Resident

MOST = 64  # lanes
LEAST_GAIN = 1.2  # of lanes over one run after the other, below which they are not worth their rounding
ENOUGH = 1.3  # times as fast: nothing else is tried
SECONDS = 0.5  # of one chunk of lanes
FEWEST = 4  # lanes that a core computes together, where several cores have some
AMPLE = 4  # times the memory of as many runs alone: lanes that fit into that are not compiled to ask for theirs
TRIAL = 8  # steps
TRIALS = 3  # of which the fastest counts: other work on the machine only makes one slower


@dataclass(frozen=True)
class Choice:
    """How a group of jobs is trained."""

    lanes: int  # 1: one after the other, in one program
    steps: int  # of a chunk of lanes
    why: str  # for the user
    shares: int = 1  # into which the lanes are divided: each is computed by itself


def choose_lanes(
    program: Program,
    *,
    jobs: int,
    begun: int | None = None,
    shares: int | None = None,
    least_gain: float = LEAST_GAIN,
    meanwhile: Callable[[], object] = lambda: None,
) -> Choice:
    """Measure one lane and several in a short trial; fewer, too, if all together gain little.

    On a CPU the lanes are divided among its cores: while a core computes the steps of its share, the callbacks of
    another one are called.

    Args:
        program: that the jobs share.
        jobs: how many there are.
        begun: the number of lanes with which these jobs began, if they are resumed: it is kept.
        shares: into which these lanes were divided.
        least_gain: how many times as fast lanes must be.
        meanwhile: is called while XLA compiles, if that is before anything is timed.
    """
    devices = len(program.by_device)
    if begun:
        shares = shares or max(n for n in range(1, devices + 1) if begun % n == 0)
        seconds = SECONDS
        if begun > 1:
            _compile_together(program, begun // shares, meanwhile)
            seconds = seconds_of_lanes(program, begun, shares)
        return Choice(begun, _steps(program, seconds), "as the jobs began", shares)
    if reason := _impossible(program):
        return Choice(1, 0, reason)
    room, each = memory.device_room(), min(-(-jobs // devices), MOST)
    while each > 1 and not _fit(program, *divide_among_cores(each, devices), room.bytes):
        each //= 2
    width, of_device = divide_among_cores(each, devices)
    shares = of_device * devices
    if (count := width * shares) < 2:
        return Choice(1, 0, f"two lanes do not fit into memory ({room})")
    _compile_together(program, width, meanwhile)
    one = seconds_alone(program.alone or program)
    seconds = {count: seconds_of_lanes(program, count, shares)}
    speeds = {count: min(count, jobs) / seconds[count]}
    if least_gain and speeds[count] * one < ENOUGH and width > FEWEST:  # whose states fit into the cache
        fewer = FEWEST * shares
        seconds[fewer] = seconds_of_lanes(program, fewer, shares)
        speeds[fewer] = fewer / seconds[fewer]
    best = max(speeds, key=lambda lanes: speeds[lanes])
    gain = speeds[best] * one
    tried = ", ".join(f"{speed:,.0f} in {lanes} lanes" for lanes, speed in speeds.items())
    where = f" on {devices} devices" if devices > 1 else ""
    shown = f"{1 / one:,.0f} steps/s alone, {tried}{where}"
    if gain < least_gain:
        return Choice(1, 0, f"{shown}: {gain:.2f} times as fast is less than {least_gain}")
    return Choice(best, _steps(program, seconds[best]), f"{shown}, {gain:.1f} times as fast", shares)


def divide_among_cores(each: int, devices: int = 1) -> tuple[int, int]:
    """Divide the lanes of each device into equal shares, and return the lanes of one and their number."""
    cores = runtime.threads() // devices if jax.default_backend() == "cpu" else 1
    shares = max(1, min(cores, each // FEWEST))
    return -(-each // shares), shares


def divide_lanes(program: Program, shares: int) -> tuple[Program, ...]:
    """Return the program that computes each share, on its device."""
    devices = program.by_device
    return tuple(devices[number % len(devices)] for number in range(shares))


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


def _fit(program: Program, count: int, shares: int, room: int) -> bool:
    """Tell whether the shares of a device, of so many lanes each, fit into its memory, in bytes."""
    alone = program.memory * len(program.by_device)  # a lane has the whole batch of a run that divides it
    if alone and AMPLE * alone * count * shares <= room:
        return True
    return _bytes(program, count, shares) <= room


def _bytes(program: Program, count: int, shares: int) -> int:
    """Compile a share, and return the memory that those of a device need; on a host, those of all its devices."""
    first, devices = program.by_device[0], len(program.by_device)
    needed = memory.needed(_lower(first, count).compile(), there=first.feed.in_place)
    return needed * shares * (devices if memory.on_host() else 1)


def _lower(program: Program, count: int) -> jax.stages.Lowered:
    """Trace the chunk of so many lanes."""
    counts = jax.ShapeDtypeStruct((count,), np.int32)
    given = (program.shapes,) * count, program.feed.shapes, (program.input_shapes,) * count, counts
    return program.lane_chunk.lower(*given)


def _compile_together(program: Program, count: int, meanwhile: Callable[[], object]) -> None:
    """Compile at the same time what lanes need, before anything is timed: XLA holds no lock of Python meanwhile.

    Not for several devices: what is compiled for shapes is not used again for arrays of one of them.
    """
    if program.by_device[0].device:
        return
    with ThreadPoolExecutor(2) as pool:
        lanes = pool.submit(_lower(program, count).compile)
        if program.plan.splits:
            of = program.shapes
            pool.submit(program.evaluator.compile, of.params, of.model_state)  # if that fails, so will evaluating
        program.start()
        meanwhile()
        lanes.result()


def seconds_alone(program: Program) -> float:
    """Return the seconds of a step of one run."""

    def run(state: Any, steps: int) -> Any:
        return program.chunk(state, program.data, program.feed_chunk(0, steps), np.int32(steps))[0]

    return _seconds_per_step(run, program.start(), min(TRIAL, program.capacity))


def seconds_of_lanes(program: Program, count: int, shares: int = 1) -> float:
    """Return the seconds of a step of all lanes, whose shares are computed at the same time."""
    programs, each = divide_lanes(program, shares), count // shares

    def run_share(own: Program, states: Any, steps: int) -> Any:
        given = (programs[0].feed_chunk(0, steps),) * each
        return own.lane_chunk(states, own.data, given, np.full(each, steps, np.int32))[0]

    def run(states: Any, steps: int) -> Any:
        # In threads, as lanes train: a CPU computes a small chunk in the thread that asks for it.
        return list(pool.map(run_share, programs, states, [steps] * shares))

    states = [tuple(_start(own) for _ in range(each)) for own in programs]
    states[0] = run_share(programs[0], states[0], 1)  # compiled here: the threads would do that all at once
    with ThreadPoolExecutor(shares) as pool:
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
