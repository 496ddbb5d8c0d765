"""The collectives of a compiled program: what devices send one another, read from XLA's text of the program."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
BITS = {"pred": 8, "bf16": 16, "f16": 16}  # others end in their number of bits: f32, s32, u8
CALL = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\(")
ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclass(frozen=True)
class Collective:
    """One instruction that sends data between devices."""

    kind: str
    shapes: tuple[str, ...]  # of its results on one device, as f32[64,10]; small ones are combined into one
    source: str  # the operation that it comes from, such as jit(chunk)/while/body/jvp()/dot_general

    @property
    def bytes(self) -> int:
        """Bytes of its results on one device."""
        return sum(_bytes(shape) for shape in self.shapes)

    @property
    def loops(self) -> int:
        """Number of loops around it: 1 in a step of training, 2 if it is in a loop of the step."""
        return self.source.count("while/body")


def collectives(text: str) -> list[Collective]:
    """Return the collectives in the text of a compiled program (`compiled.as_text()`), in its order."""
    found = []
    for line in text.splitlines():
        if not (call := CALL.search(line)):
            continue
        arrays = tuple(f"{kind}[{size}]" for kind, size in ARRAY.findall(call[1]))
        if call[3] and call[2] != "all-reduce":  # a started one also returns its operands, first
            arrays = arrays[len(arrays) // 2 :]
        source = SOURCE.search(line)
        found.append(Collective(call[2], arrays, source[1] if source else ""))
    return found


def large(found: Iterable[Collective], above: int = 64) -> list[Collective]:
    """Return those of more than so many bytes: the others send sums, counts and flags."""
    return [collective for collective in found if collective.bytes > above]


def _bytes(shape: str) -> int:
    kind, _, sizes = shape.rstrip("]").partition("[")
    bits = BITS.get(kind) or int(re.sub(r"\D", "", kind))
    return bits // 8 * math.prod(int(size) for size in sizes.split(",") if size)
