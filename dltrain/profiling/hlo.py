"""The compiled programs in a profiler trace: the kind of each instruction, and the source line it comes from.

Hand-written, since xprof (2.24) has no per-operation table for CPU traces (`hlo_stats` is empty), and
`jax.profiler.ProfileData` reads the events of a trace but not its programs. The few fields needed are read from the
protocol buffers: XSpace and XPlane of tsl/profiler/protobuf/xplane.proto, HloProto of xla/service/hlo.proto.
A missing field gives an empty string.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import flax
import jax
import optax

LIBRARIES = tuple(str(Path(package.__file__).parent) for package in (jax, flax, optax) if package.__file__)
METADATA = "/host:metadata"  # the plane with the programs
WRAPPING = {"fusion", "call", "custom-call", "map"}  # their work is in the computations they call
MOVING = {"copy", "copy-start", "transpose", "concatenate", "pad", "slice", "dynamic-slice", "dynamic-update-slice",
          "reverse", "reshape"}  # fmt: skip
MIXING = {
    "xor",
    "or",
    "shift-left",
    "shift-right-logical",
    "add",
}  # together: a round of Threefry
FREE = {"parameter", "constant", "bitcast", "broadcast", "iota", "tuple", "get-tuple-element"}
KINDS = (  # the first match: a fusion is named after its most expensive part
    ("matrix product", {"dot"}, r"gemm|matmul|dot"),
    ("convolution", {"convolution"}, r"conv"),
    ("sort", {"sort", "topk"}, r"sort|topk|top_k"),
    ("random", {"rng", "rng-bit-generator", "rng-get-and-update-state"}, r"rng|threefry"),
    ("gather and scatter", {"gather", "scatter"}, r"gather|scatter"),
    ("reduction", {"reduce", "reduce-window", "select-and-scatter"}, r"reduce"),
    ("loop and conditional", {"while", "conditional"}, r"$^"),
)
"""Kind, its opcodes, and a pattern for the names of library calls of this kind."""

ELEMENT_TYPES = {1: "pred", 2: "s8", 3: "s16", 4: "s32", 5: "s64", 6: "u8", 7: "u16", 8: "u32", 9: "u64", 10: "f16",
                 11: "f32", 12: "f64", 16: "bf16"}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One instruction of a compiled program."""

    kind: str
    shape: str  # of its result, as f32[64,128]
    source: str  # file:line of the innermost call outside jax, flax and optax
    direction: str  # "forward" or "backward" for instructions of the model, else ""


def programs(trace: bytes) -> dict[str, dict[str, Instruction]]:
    """Return the instructions of each program in a trace, by program name, such as `jit_chunk(7)`."""
    found = {}
    for plane in _all(trace, 1):
        if _text(plane, 2) != METADATA:
            continue
        for entry in _all(plane, 4):
            described = _one(entry, 2)
            for stat in _all(described, 5):
                if module := _one(_one(stat, 6), 1):
                    found[_text(described, 2)] = _instructions(module)
    return found


def _instructions(module: bytes) -> dict[str, Instruction]:
    computations = {_number(c, 5): list(_all(c, 2)) for c in _all(module, 3)}
    sources = _sources(_one(module, 17))
    found = {}
    for instructions in computations.values():
        for instruction in instructions:
            metadata = _one(instruction, 7)
            written = _text(metadata, 2)
            backward = "transpose(" in written
            found[_text(instruction, 1)] = Instruction(
                kind=_kind(instruction, computations),
                shape=_shape(_one(instruction, 3)),
                source=sources.get(_number(metadata, 15), ""),
                direction="backward" if backward else "forward" if "jvp(" in written else "",
            )
    return found


def _kind(instruction: bytes, computations: dict[int, list[bytes]]) -> str:
    opcodes, targets = _opcodes(instruction, computations, depth=4)
    if opcodes <= FREE and not targets:
        return "copy and transpose"
    for kind, known, target in KINDS:
        if opcodes & known or any(re.search(target, name, re.IGNORECASE) for name in targets):
            return kind
    if opcodes >= MIXING:
        return "random"
    return "copy and transpose" if opcodes <= MOVING | FREE else "other" if targets else "elementwise"


def _opcodes(instruction: bytes, computations: dict[int, list[bytes]], *, depth: int) -> tuple[set[str], set[str]]:
    """Return the opcodes that an instruction executes, and the targets of its library calls."""
    opcode, targets = _text(instruction, 2), {name} if (name := _text(instruction, 28)) else set()
    if opcode not in WRAPPING or not depth:
        return {opcode}, targets
    opcodes: set[str] = set()
    for called in _numbers(instruction, 38):
        for inner in computations.get(called, []):
            more, names = _opcodes(inner, computations, depth=depth - 1)
            opcodes, targets = opcodes | more, targets | names
    return opcodes, targets


def _shape(shape: bytes) -> str:
    element = ELEMENT_TYPES.get(_number(shape, 2))
    return f"{element}[{','.join(map(str, _numbers(shape, 3)))}]" if element else ""


def _sources(index: bytes) -> dict[int, str]:
    """Map each stack frame to file:line of the innermost call outside jax, flax and optax."""
    files = [bytes(name).decode() for name in _all(index, 1)]
    places = [(_number(place, 1), _number(place, 3)) for place in _all(index, 3)]
    frames = [(_number(frame, 1), _number(frame, 2)) for frame in _all(index, 4)]  # indices start at 1

    @cache
    def source(frame: int) -> str:
        if not 0 < frame <= len(frames):
            return ""
        place, parent = frames[frame - 1]
        file, line = places[place - 1]
        if files[file - 1].startswith(LIBRARIES):
            return source(parent)
        return f"{'/'.join(Path(files[file - 1]).parts[-2:])}:{line}"

    return {number: source(number) for number in range(1, len(frames) + 1)}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Parse a protocol buffer message: (field number, integer or bytes) of each field."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire} in a profiler trace")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _all(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in _fields(message) if found == number and not isinstance(value, int))


def _one(message: bytes, number: int) -> bytes:
    return next(_all(message, number), b"")


def _text(message: bytes, number: int) -> str:
    return bytes(_one(message, number)).decode()


def _number(message: bytes, number: int) -> int:
    return next((value for found, value in _fields(message) if found == number and isinstance(value, int)), 0)


def _numbers(message: bytes, number: int) -> list[int]:
    """Read repeated integers, packed or not."""
    found: list[int] = []
    for n, value in _fields(message):
        if n == number and isinstance(value, int):
            found.append(value)
        elif n == number and not isinstance(value, int):
            at = 0
            while at < len(value):
                integer, at = _varint(value, at)
                found.append(integer)
    return found
