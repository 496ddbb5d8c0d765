"""New examples for an ensemble: one file, read once for each encoder that members were fitted with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.records.block import Block, Records
from dltrain.errors import DataError


def distinct(encoders: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Find equal encoders: return the number of the first of each kind, and for each encoder its kind."""
    firsts: list[int] = []
    kinds = []
    for number, encoder in enumerate(encoders):
        kind = next((k for k, first in enumerate(firsts) if _equal(encoders[first], encoder)), len(firsts))
        firsts += [number] if kind == len(firsts) else []
        kinds.append(kind)
    return firsts, kinds


class Together:
    """Readers of the same file with different encoders as one; the inputs of a block are a tuple, one of each.

    An example is valid if every encoder takes it.

    Attributes:
        total: its length, for the progress bar.
        measure: the unit of the length.
    """

    def __init__(self, path: Path, readers: Sequence[Records]) -> None:
        """Take the readers; `path` is for messages."""
        self._path, self._readers = path, readers
        self.total, self.measure = readers[0].total, readers[0].measure

    def blocks(self) -> Iterator[Block]:
        """Read the examples in their order."""
        for found in zip(*(reader.blocks() for reader in self._readers), strict=True):
            if len({len(block.valid) for block in found}) > 1:
                raise DataError(f"{self._path}: the members of the ensemble read different examples from it")
            valid = np.logical_and.reduce([block.valid for block in found])
            inputs = tuple(_only(block, valid) for block in found) if valid.any() else None
            bad = list({(one.file, one.row): one for block in reversed(found) for one in block.bad}.values())
            yield Block(inputs, valid, found[0].ids, _in_order(bad, found), found[0].done)

    def notes(self) -> Sequence[str]:
        """Return what the readers say, each thing once."""
        return list(dict.fromkeys(note for reader in self._readers for note in reader.notes()))


def _only(block: Block, valid: np.ndarray) -> Any:
    """Return the inputs of a block for the examples that are valid for all."""
    if (kept := valid[block.valid]).all():
        return block.inputs
    return jax.tree.map(lambda array: np.asarray(array)[kept], block.inputs)


def _in_order(bad: list[Bad], found: Sequence[Block]) -> list[Bad]:
    """Keep the order of a single list; several are sorted by the number of the row."""
    return list(found[0].bad) if len(found) == 1 else sorted(bad, key=lambda one: (len(one.row), one.row))


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    return one.to_json() == other.to_json() if hasattr(one, "to_json") else one == other
