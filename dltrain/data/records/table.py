"""New rows of a table, for a model that was trained on one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, OnBad
from dltrain.data.records.block import Block, encode_valid
from dltrain.data.tables.convert import missing_as_null, plain_numbers
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.tables.options import MISSING, Options
from dltrain.data.tables.read import instead_of
from dltrain.data.tables.stream import RowBlock, open_rows
from dltrain.data.tables.surprises import surprises
from dltrain.errors import DataError

SHOWN = 5  # columns in a message


class TableRecords:
    """The rows of a file as examples; columns may be in any order, and the target may be missing.

    Attributes:
        total: length of the file in `measure`.
        measure: MB or rows.
    """

    def __init__(
        self,
        path: Path,
        encoder: Any,
        options: Options,
        *,
        keep: Sequence[str] = (),
        targets: Sequence[str] = (),
        as_read: bool = False,
    ) -> None:
        """Open a file.

        Args:
            path: the file.
            encoder: what was fitted on the training rows; has `columns`, `encode` and `problems`.
            options: how the file is read.
            keep: columns that are repeated next to the predictions.
            targets: columns that the model predicts, which are not missed.
            as_read: whether blocks also hold the rows, with the targets as numbers where they are.

        Raises:
            DataError: the file is not a table.
        """
        self._path, self._encoder, self._targets, self._as_read = path, encoder, targets, as_read
        self._ids = tuple(dict.fromkeys((*getattr(encoder, "identifiers", ()), *keep)))
        self._keep, self._used = tuple(keep), (*encoder.columns, *self._ids)
        options = replace(options, on_bad=OnBad.SKIP, most_bad=1.0, targets=tuple(targets))
        self._rows = open_rows(path, options, columns=())
        self.total, self.measure = self._rows.total, self._rows.measure
        self._surprises: dict[tuple[str, str], tuple[int, str]] = {}
        self._unused: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        """Read the rows in their order."""
        first = True
        for found in self._rows.read():
            if first:
                self._check_columns(found.frame.columns)
            first = False
            if len(found.rows) or found.bad:
                yield self._block(found)
        if first:
            raise DataError(f"{self._path}: has no rows")

    def notes(self) -> Sequence[str]:
        """Return what is unlike the training rows, and which columns are not used."""
        unlike = [
            f"column {name}: {count:,} values {what}" + f", such as {example}" * bool(example)
            for (name, what), (count, example) in self._surprises.items()
        ]
        if not self._unused:
            return unlike
        few = ", ".join(self._unused[:SHOWN]) + ", ..." * (len(self._unused) > SHOWN)
        many = "1 column is" if len(self._unused) == 1 else f"{len(self._unused)} columns are"
        return [*unlike, f"{many} not used: {few}"]

    def _check_columns(self, names: Sequence[str]) -> None:
        for name in (*self._encoder.columns, *self._keep):
            if name not in names:
                kept = " (keep)" if name in self._keep and name not in self._encoder.columns else ""
                raise DataError(f"{self._path}: has no column {name}{kept}{instead_of(name, names)}")
        self._unused = tuple(name for name in names if name not in (*self._used, *self._targets))

    def _block(self, found: RowBlock) -> Block:
        encoded = encode_valid(self._encoder, self._located(found.frame))
        if encoded.valid.any() and isinstance(self._encoder, TableEncoder):
            for column, what, count, example in surprises(self._encoder, found.frame.filter(encoded.valid)):
                before, first = self._surprises.get((column, what), (0, example))
                self._surprises[column, what] = before + count, first
        bad = [
            Bad(str(self._path), f"{self._rows.unit} {found.rows[i]}", *problem)
            for i, problem in sorted(encoded.problems.items())
        ]
        ids: dict[str, Any] = {self._rows.unit: found.rows}
        ids |= {name: found.frame[name] for name in self._ids if name in found.frame.columns}
        rows = self._with_targets(encoded.records) if self._as_read else None
        if not found.bad:
            return Block(encoded.inputs, encoded.valid, ids, bad, found.done, rows)
        numbers = np.concatenate([found.rows, np.asarray(found.bad_rows)])
        order, lost = np.argsort(numbers, kind="stable"), len(found.bad)
        valid = np.concatenate([encoded.valid, np.zeros(lost, bool)])[order]
        ids = {name: _extended(values, lost)[order] for name, values in ids.items()} | {
            self._rows.unit: numbers[order]
        }
        every = sorted([*bad, *found.bad], key=lambda one: int(one.row.partition(" ")[2]))
        return Block(encoded.inputs, valid, ids, every, found.done, rows)

    def _with_targets(self, frame: Any) -> Any:
        """Return rows in which texts of targets that are all numbers are numbers."""
        decimals, missing = self._rows.separator not in ("", ","), getattr(self._encoder, "missing", MISSING)
        there = [name for name in self._targets if name in frame.columns]
        return frame.with_columns(
            [plain_numbers(missing_as_null(frame[name], missing), decimals) for name in there]
        )

    def _located(self, frame: Any) -> Any:
        """Return the rows with the names of images as paths, which count from the folder of the file."""
        import polars as pl

        for name in getattr(self._encoder, "images", ()):
            folder = self._path.parent
            paths = [None if text is None else str(folder / str(text)) for text in frame[name].to_list()]
            missing = frame[name].is_in(list(self._encoder.missing)).fill_null(True)
            frame = frame.with_columns(pl.Series(name, paths, pl.String).set(missing, None))
        return frame


def _extended(values: Any, count: int) -> Any:
    """Append nulls to a polars column, or numbers to an array, which the caller replaces."""
    import polars as pl

    if isinstance(values, np.ndarray):
        return np.concatenate([values, np.zeros(count, values.dtype)])
    return values.extend(pl.Series(values.name, [None] * count, dtype=values.dtype))
