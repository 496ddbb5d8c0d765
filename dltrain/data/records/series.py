"""New rows of series: the last window of each, to forecast what follows; and sequences, each an example."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.records.block import Block
from dltrain.data.series.encode import SeriesEncoder
from dltrain.data.series.long import SequenceEncoder
from dltrain.data.series.read import MISSING
from dltrain.data.tables.read import read_rows


class SeriesRecords:
    """The last windows of the series of a file as examples.

    Attributes:
        total: number of series.
        measure: series.
    """

    measure = "series"

    def __init__(self, path: Path, encoder: SeriesEncoder) -> None:
        """Read the file, and cut the windows."""
        self._path, self._encoder = path, encoder
        self._found = encoder.latest(read_rows(path, missing=MISSING), path)
        self.total = len(self._found.ids) + len(self._found.short)

    def blocks(self) -> Iterator[Block]:
        """Return the windows, and the series that are too short."""
        found, layout = self._found, self._encoder.layout
        bad = [Bad(str(self._path), "", "", why) for why in found.short.values()]
        valid = np.arange(self.total) < len(found.ids)
        empty = np.full((len(found.short), found.times.shape[1]), np.array("NaT" if layout.time else -1))
        times = np.concatenate([found.times, empty.astype(found.times.dtype)]) if found.short else found.times
        ids = {layout.id: [*found.ids, *found.short]} if layout.id else {}
        yield Block(found.inputs, valid, {**ids, layout.time or "row": times}, bad, self.total)

    def notes(self) -> Sequence[str]:
        """Return nothing."""
        return ()


class SequenceRecords:
    """The sequences of a table with a row for each step.

    Attributes:
        total: number of sequences.
        measure: sequences.
    """

    measure = "sequences"

    def __init__(self, path: Path, encoder: SequenceEncoder) -> None:
        """Read the file."""
        self._inputs, self._names = encoder.sequences(read_rows(path, missing=MISSING), path)
        self._id, self.total = encoder.id, len(self._names)

    def blocks(self) -> Iterator[Block]:
        """Return the sequences."""
        yield Block(self._inputs, np.ones(self.total, bool), {self._id: self._names}, (), self.total)

    def notes(self) -> Sequence[str]:
        """Return nothing."""
        return ()
