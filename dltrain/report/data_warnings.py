"""What is odd about the splits, said before training on stderr: `quiet=true` hides none of it."""

from collections.abc import Iterator

from dltrain.build.parts import Parts
from dltrain.data.leakage import shared_rows
from dltrain.data.split import NAMES
from dltrain.devices import memory
from dltrain.types import Task

LARGEST = 256 * 2**20  # bytes of data in which equal rows are looked for: a tenth of a second
FEW = 5  # rows or classes in a line


def data_warnings(parts: Parts) -> Iterator[str]:
    """Name the classes that a split lacks, and the rows that stand in two splits.

    Rows are compared where all data is in memory, of moderate size, and no text: its windows may well be equal.
    """
    spec = parts.spec
    for split in NAMES if spec.has_labels and spec.counts else ():
        counts = dict(zip(spec.classes, spec.counts[split], strict=True))
        if any(counts.values()) and (missing := [name for name, rows in counts.items() if not rows]):
            there = f"{len(missing)} of {len(counts)} classes"
            yield f"warning: {split} has no row of {_few(missing)} ({there}; {sum(counts.values())} rows)"
    if parts.arrays is None or memory.size(parts.arrays) > LARGEST or spec.task is Task.LANGUAGE:
        return
    for (one, other), pairs in shared_rows(parts.arrays, parts.splits).items():
        rows = _few([f"{second} (as {first})" for first, second in pairs.tolist()])
        verb = "row of {} stands" if len(pairs) == 1 else "rows of {} stand"
        yield f"warning: {len(pairs)} {verb.format(other)} in {one}, too: {rows}; leave out what stands twice"


def _few(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + ", ..." * (len(names) > FEW)
