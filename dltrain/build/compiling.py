"""Compiles the training of a program, and checks that it fits into memory, before anything is allocated."""

import contextlib
from dataclasses import replace

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.devices import hosts, memory
from dltrain.devices.parts import once, own_bytes
from dltrain.engine.state import named_leaves
from dltrain.errors import ConfigError, DltrainError, MemoryExhausted


def compile_training(program: Program) -> int:
    """Compile training and return its memory in bytes, without allocating it.

    Raises:
        ConfigError: the parts cannot be traced together.
        MemoryExhausted: it does not fit; the message names a batch size that does.
    """
    plan, room = program.plan, memory.device_room()
    if (state := memory.size(program.shapes)) > room.bytes:  # XLA ends the process on sizes that it cannot count
        raise MemoryExhausted(
            f"model: its parameters and the optimizer's state take {memory.shown(state)}, and {room} are left; "
            "try a smaller model"
        )
    need = _needed(program)
    host, copies = memory.host_room(), memory.COPIES * _copied_bytes(program)
    if memory.on_host():
        limit = f"{room.limit}, after {memory.shown(copies)} for two copies of the state for checkpoints,"
        room = memory.Room(room.bytes - copies, limit)
    elif copies > host.bytes:
        raise MemoryExhausted(f"checkpoints need {memory.shown(copies)} on the host, and {host} are left")
    if need > room.bytes:
        raise MemoryExhausted(_too_much(program, need, room))
    if plan.splits:
        _check_evaluation(program, room, need=need)
    program.memory = need
    return need


def _check_evaluation(program: Program, room: memory.Room, *, need: int) -> None:
    """Trace an evaluation, and compile it if it may need more memory than there is: training needs `need` bytes."""
    size, where = program.plan.eval_batch_size, program.placed
    program.evaluator.trace(where.params, where.model_state)
    if need * size <= room.bytes * program.parts.pipeline.batch_size:
        return
    compiled = program.evaluator.compile(where.params, where.model_state)
    evaluation = memory.needed(compiled, there=program.feed.in_place)
    if evaluation > room.bytes:
        raise MemoryExhausted(
            f"evaluation needs {memory.shown(evaluation)} for {size} examples at once; {room} are left; "
            f"try eval_batch_size={max(1, size // 4)}"
        )


def summarise_memory(program: Program) -> str:
    """Describe the memory of the run: of the state, and of the data unless the source shares it."""
    state, data = (memory.shown(memory.size(tree)) for tree in (program.shapes, program.feed.shapes))
    return f"state {state}, " + (f"no copy of the data ({data})" if program.feed.in_place else f"data {data}")


def _copied_bytes(program: Program) -> int:
    """Return the bytes of a copy of the state on this host: of several processes, each copies its parts."""
    if hosts.count() == 1 or not program.layout:
        return memory.size(program.shapes)
    where = jax.tree.leaves(program.layout.of(program.shapes))
    leaves = zip(named_leaves(program.shapes).values(), where, strict=True)
    return sum(own_bytes(once(own, leaf.shape), leaf.shape, leaf.dtype) for leaf, own in leaves)


def _needed(program: Program) -> int:
    """Compile a chunk, and return its memory in bytes."""
    try:
        lowered = program.chunk.lower(program.placed, program.feed.shapes, program.input_shapes, np.int32(1))
    except DltrainError:
        raise
    except Exception as error:  # raised by a loss, an augmentation, ... for inputs that do not fit
        kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
        raise ConfigError(
            f"model, loss, augment, optim: these parts do not go together: {kind}{error}{program.advice}"
        ) from error
    return memory.needed(lowered.compile(), there=program.feed.in_place)


def _too_much(program: Program, need: int, room: memory.Room) -> str:
    """Describe the memory that training needs, what is left, and which batch would fit."""
    return (
        f"training needs {memory.shown(need)}: {summarise_memory(program)}, the rest for steps of "
        f"{program.parts.pipeline.batch_size} examples; {room} are left; {_remedy(program, room.bytes)}"
    )


def _remedy(program: Program, room: int) -> str:
    """Find the largest half, quarter, ... of the batch that fits, by compiling it."""
    pipeline, accumulate = program.parts.pipeline, program.parts.accumulate
    whole = pipeline.batch_size
    size = whole // 2 // accumulate * accumulate
    while size:
        parts = replace(program.parts, pipeline=replace(pipeline, batch_size=size))
        with contextlib.suppress(ConfigError):  # not divisible among the devices
            if _needed(Program(parts, program.plan, program.differences.of)) <= room:
                count = next(n for n in range(-(-whole * accumulate // size), whole + 1) if whole % n == 0)
                return f"batch_size={size} would fit; optim.accumulate={count} keeps the batch size"
        size = size // 2 // accumulate * accumulate
    return "no smaller batch would fit; try a smaller model"
