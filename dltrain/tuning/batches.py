"""The speed and memory of the training step at growing batch sizes, and the size to choose.

Each size is a program of its own, as in a run; what is timed are its chunks, with their inputs made meanwhile.
"""

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import jax
import numpy as np

from dltrain.build.compiling import compile_training
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.build.program import Program
from dltrain.config.kinds import MOST
from dltrain.data.progress import progress
from dltrain.devices import memory
from dltrain.engine.state import TrainState
from dltrain.errors import ConfigError, MemoryExhausted

NEAR = 0.95  # of the best throughput, which a smaller batch may have to be recommended
WINDOWS = 5  # of which the fastest counts: other processes only make it slower
AT_LEAST = 2  # chunks of a window, so that the inputs of one are made while another runs


@dataclass(frozen=True)
class Measured:
    """A batch size with what was measured."""

    batch_size: int
    steps: float  # per second
    examples: float  # per second, without padding
    memory: int  # bytes that the compiled program needs, with its data
    peak: int | None = None  # bytes, the largest use of the device so far, where it tells


@dataclass(frozen=True)
class BatchSizes:
    """The sizes that were measured, in growing order, and why there are no further ones."""

    found: tuple[Measured, ...]
    reason: str
    stopped: bool = False  # by the user

    @property
    def recommended(self) -> int | None:
        """The smallest size that is nearly as fast as the fastest; None if nothing was measured."""
        return recommend(self.found)


def recommend(found: Sequence[Measured]) -> int | None:
    """Return the smallest batch size with at least 95 % of the best examples per second."""
    best = max((one.examples for one in found), default=0.0)
    return next((one.batch_size for one in found if one.examples >= NEAR * best), None)


def still_grows(found: Sequence[Measured]) -> bool:
    """Tell whether one of the last two sizes was faster than all before by more than 5 %."""
    speeds = [one.examples for one in found]
    return len(speeds) < 3 or NEAR * max(speeds[-2:]) > max(speeds[:-2])


def sizes(parts: Parts, *, smallest: int, largest: int | None) -> list[int]:
    """Return the batch sizes to try, each twice as large as the one before; all are multiples of `accumulate`."""
    examples, unit = len(parts.pipeline.examples), parts.accumulate
    most = min(largest or examples, examples)
    size = -(-smallest // unit) * unit
    if size > most:
        limit = f"largest={largest}" if largest and largest <= examples else f"{examples} training examples"
        raise ConfigError(f"smallest={smallest}: no batch of at least {size} examples fits into {limit}")
    found = []
    while size <= most:
        found.append(size)
        size *= 2
    return found


def measure_sizes(
    parts: Parts,
    plan: Plan,
    *,
    smallest: int = 8,
    largest: int | None = None,
    seconds: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
) -> BatchSizes:
    """Measure growing batch sizes until one does not fit, the training set ends, or the speed no longer grows.

    Args:
        parts: of the run.
        plan: of the run.
        smallest: the first size.
        largest: no size is above it; None: the number of training examples.
        seconds: to measure each for.
        stop: is asked between measurements; what was found so far is returned.

    Raises:
        ConfigError: there is no size between `smallest` and `largest`.
    """
    tried, found = sizes(parts, smallest=smallest, largest=largest), []
    with progress("measuring", len(tried), unit="batch sizes") as advance:
        for size in tried:
            try:
                one = measure(parts, plan, size, seconds=seconds, stop=stop)
            except MemoryExhausted as error:
                return BatchSizes(tuple(found), f"a batch of {size:,} does not fit: {error}")
            if one is None:
                return BatchSizes(tuple(found), f"stopped at a batch of {size:,}", stopped=True)
            found.append(one)
            advance(1)
            if not still_grows(found):
                return BatchSizes(tuple(found), "larger batches are no faster")
    examples = len(parts.pipeline.examples)
    limit = f"largest={largest}" if largest and largest <= examples else f"there are {examples:,} training examples"
    return BatchSizes(tuple(found), limit)


def measure(
    parts: Parts, plan: Plan, size: int, *, seconds: float, stop: Callable[[], bool] = lambda: False
) -> Measured | None:
    """Time the training step at one batch size; None if `stop` asks to end.

    Raises:
        MemoryExhausted: training does not fit into the memory.
    """
    if stop():
        return None
    gc.collect()  # the data of the size before, which the garbage still holds on the device
    pipeline = replace(parts.pipeline, batch_size=size)
    between = plan.eval_every.steps(pipeline.steps_per_epoch)  # evaluations, which end the chunks of the run
    # Long, so that neither the schedule nor augmentation ends; a step that is not finite is timed, too.
    plan = replace(plan, total=MOST, intervals=(between,) if between else (), skip_nonfinite=True)
    program = Program(replace(parts, pipeline=pipeline), replace(plan, splits=(), monitor=None))
    try:
        need = compile_training(program)
        found = list(itertools.takewhile(lambda _: not stop(), _windows(program, seconds)))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise MemoryExhausted(str(error).splitlines()[0]) from error
    finally:
        program.close()
    if len(found) < WINDOWS:
        return None
    steps, examples = max(found)
    return Measured(size, steps, examples, need, memory.peak().get("device"))


@dataclass
class _Training:
    """A training that goes on while it is timed."""

    program: Program
    state: TrainState
    step: int = 0

    def run(self, length: int, chunks: int = 1) -> tuple[float, float]:
        """Train `chunks` chunks of `length` steps; return the seconds and the examples, without padding."""
        program, began, counted = self.program, perf_counter(), []
        for _ in range(chunks):
            feed = program.feed_chunk(self.step, length)
            self.state, logs = program.chunk(self.state, program.data, feed, np.int32(length))
            self.step += length
            counted.append(logs["examples"])
        jax.block_until_ready(self.state)
        elapsed = perf_counter() - began
        return elapsed, float(sum(np.asarray(some)[:length].sum() for some in counted))


def _windows(program: Program, seconds: float) -> Iterator[tuple[float, float]]:
    """Yield steps and examples per second of each window, after a warm-up."""
    training = _Training(program, program.start())
    training.run(1)  # which compiles, and puts the data on the device
    length, took = _chunk_of(training, seconds / (WINDOWS * AT_LEAST))
    while program.ahead and training.step < program.capacity:  # batches that were read while it compiled
        training.run(length)
    chunks = max(AT_LEAST, round(seconds / WINDOWS / took))
    for _ in range(WINDOWS):
        elapsed, examples = training.run(length, chunks)
        yield chunks * length / elapsed, examples / elapsed


def _chunk_of(training: _Training, wanted: float) -> tuple[int, float]:
    """Return the length of a chunk that takes about `wanted` seconds, and its seconds; a chunk has its limit."""
    length, most = 1, training.program.capacity
    while True:
        took = training.run(length)[0]
        longer = int(min(most, length * min(8.0, max(1.0, wanted / took))))
        if longer <= 1.5 * length:
            return length, took
        length = longer
