"""A block of new examples, and what reads a file in such blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from dltrain.data.bad import Bad, Problem
from dltrain.errors import DataError


@dataclass(frozen=True, eq=False)
class Block:
    """Some examples that follow one another.

    Attributes:
        inputs: the arrays of the valid ones, as the encoder returns them, [G, ...]; None if there is none.
        valid: which could be read, bool [N].
        ids: what identifies the examples: name -> values [N], or [N, H] for the H rows that each becomes.
        bad: the others, and what is wrong.
        done: how much was read for them, in the unit of `Records.measure`.
        as_read: if asked for, the valid ones before they were encoded: rows of a polars frame, a list of texts, or
            arrays by name with `targets`; None of images and series.
    """

    inputs: Any
    valid: np.ndarray
    ids: Mapping[str, Any]
    bad: Sequence[Bad] = ()
    done: int = 0
    as_read: Any = None


class Records(Protocol):
    """A file, or a folder, of new examples.

    Attributes:
        total: its length, for the progress bar.
        measure: the unit of the length, in the plural.
    """

    total: int
    measure: str

    def blocks(self) -> Iterator[Block]:
        """Read the examples in their order."""
        ...

    def notes(self) -> Sequence[str]:
        """Return what the user should know about what was read so far."""
        ...


@dataclass(frozen=True, eq=False)
class Encoded:
    """Records as arrays: those of the valid ones, and what is wrong with the others, by their places."""

    inputs: Any
    valid: np.ndarray
    records: Any  # the valid ones
    problems: Mapping[int, Problem] = field(default_factory=dict)


def encode_valid(encoder: Any, records: Any) -> Encoded:
    """Encode the records that can be encoded.

    Args:
        encoder: has `encode`, and `problems` to tell single bad records.
        records: a polars frame, or a list.

    Raises:
        DataError: the fault is not one of single records.
    """
    try:
        return Encoded(encoder.encode(records), np.ones(len(records), bool), records)
    except DataError:
        problems = encoder.problems(records) if hasattr(encoder, "problems") else {}
        if not problems:
            raise
    valid = np.ones(len(records), bool)
    valid[list(problems)] = False
    listed = isinstance(records, list)
    kept = [one for one, good in zip(records, valid, strict=True) if good] if listed else records.filter(valid)
    return Encoded(encoder.encode(kept) if valid.any() else None, valid, kept, problems)
