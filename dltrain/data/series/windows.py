"""Windows of time series as examples: they are views, gathered when a batch is read, and never all held at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.description import Description
from dltrain.data.series.baselines import forecasts
from dltrain.data.series.read import Series
from dltrain.data.series.splits import Cut
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.types import Feature, Kind, Spec, alone_or_named

PAST, KNOWN, FUTURE = "past", "known", "future"
BLOCK = 65_536  # rows at a time


class Windows:
    """Windows of series: inputs `past` float [L, C], targets `future` float [H, T], the rows after them.

    With columns that are known in advance there is an input `known`, float [L + H, K], which goes to the end of the
    horizon. Windows of train come first, then those of validation and test.

    Attributes:
        spec: shapes and names of columns.
        fingerprint: of the rows.
        published: the windows of validation and test.
        notes: what was found in the file, for people.
        overlapping: windows share rows, so reading all of them takes many times the memory of the rows.
        ordered: windows of a split drawn at random would overlap with those of others.
        encoder: cuts the last window of new rows; saved with the run.
    """

    encoder: Any = None

    overlapping = True
    ordered = True
    suggestion = ("forecasting", "the rows after each window are predicted")

    def __init__(
        self, series: Series, starts: Mapping[str, np.ndarray], cut: Cut, *, path: Path, season: int | None
    ) -> None:
        """Take the rows, and where the windows of each split begin."""
        self._series, self._cut, self._season, self.path = series, cut, season, path
        self._starts = np.concatenate([starts[name] for name in ("train", "validation", "test")])
        ends = np.cumsum([len(starts[name]) for name in ("train", "validation", "test")])
        self.published: Mapping[str, np.ndarray] = {
            "validation": np.arange(ends[0], ends[1]),
            "test": np.arange(ends[1], ends[2]),
        }
        self._past, self._future = (self._columns(names) for names in (series.inputs, series.target))
        look_back, horizon, dtype = cut.look_back, cut.horizon, str(self._past.dtype)
        inputs = {PAST: Feature(Kind.SEQUENCE, (look_back, len(series.inputs)), dtype, series.inputs)}
        if series.known_names:
            shape = (look_back + horizon, len(series.known_names))
            inputs[KNOWN] = Feature(Kind.SEQUENCE, shape, str(series.known.dtype), series.known_names)
        shape, dtype = (horizon, len(series.target)), str(self._future.dtype)
        self.spec = Spec(inputs, {FUTURE: Feature(Kind.NUMBERS, shape, dtype, series.target)})
        self.fingerprint = fingerprint(
            {
                "past": self._past,
                "future": self._future,
                "known": series.known,
                "offsets": series.offsets,
                "names": np.array([*series.inputs, *series.target, *series.known_names]),
            }
        )
        self.notes = (*series.notes, self._counted(starts))

    def _columns(self, names: tuple[str, ...]) -> np.ndarray:
        series = self._series
        if names == series.columns:
            return series.values
        return np.ascontiguousarray(series.values[:, [series.columns.index(name) for name in names]])

    def _counted(self, starts: Mapping[str, np.ndarray]) -> str:
        rows, several = len(self._series.values), len(self._series.ids)
        found = ", ".join(f"{len(s):,} {name}" for name, s in starts.items() if len(s))
        many = f" in {several:,} series" if several > 1 else ""
        return (
            f"{rows:,} rows{many}; windows of {self._cut.look_back} + {self._cut.horizon} rows: {found}; "
            "none predicts rows of two splits"
        )

    @property
    def rows(self) -> Series:
        """The rows that the windows are cut from."""
        return self._series

    @property
    def season(self) -> int | None:
        """Rows of a season, if that is known."""
        return self._season

    @property
    def ends(self) -> dict[str, int]:
        """The row behind the last one of each split, of a single series; empty for several."""
        if len(self._series.ids) > 1:
            return {}
        cuts = {"train": range(len(self) - sum(map(len, self.published.values()))), **self.published}
        length = self._cut.look_back + self._cut.horizon
        return {name: int(self._starts[found[-1]]) + length for name, found in cuts.items() if len(found)}

    def describe(self, train: np.ndarray) -> Description:
        """Return what the columns are used as, and their values in all rows."""
        del train
        rows, used = [], {"input": self._series.inputs, "target": self._series.target}
        for name, values in zip(self._series.columns, self._series.values.T, strict=True):
            found = f"from {values.min():.6g} to {values.max():.6g}, mean {values.mean():.6g}"
            rows.append((name, " and ".join(what for what, names in used.items() if name in names), found))
        rows += [(name, "known in advance", "") for name in self._series.known_names]
        return Description((), ("column", "used as", "values"), rows)

    def __len__(self) -> int:
        """Return the number of windows, all splits together."""
        return len(self._starts)

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these windows, int [B]."""
        first = self._starts[indices][:, None]
        back, ahead = np.arange(self._cut.look_back)[None, :], np.arange(self._cut.horizon)[None, :]
        inputs = {PAST: self._past[first + back]}
        if KNOWN in self.spec.inputs:
            inputs[KNOWN] = self._series.known[first + np.arange(self._cut.look_back + self._cut.horizon)[None, :]]
        return {"inputs": alone_or_named(inputs), "targets": self._future[first + self._cut.look_back + ahead]}

    def read_targets(self) -> np.ndarray:
        """Return the rows of the targets, [N, T], each once; they were checked when the file was read."""
        return self._future

    def scaling_blocks(self, examples: np.ndarray) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """Yield inputs and targets for the fit of the scaling: each row that is in one of these windows once."""
        covered = np.zeros(len(self._past) + 1, np.int64)
        starts = self._starts[examples]
        np.add.at(covered, starts, 1)
        np.add.at(covered, starts + self._cut.look_back + self._cut.horizon, -1)
        rows = np.flatnonzero(np.cumsum(covered[:-1]) > 0)
        for low in range(0, len(rows), BLOCK):
            some = rows[low : low + BLOCK]
            inputs = {PAST: self._past[some]}
            if KNOWN in self.spec.inputs:
                inputs[KNOWN] = self._series.known[some]
            yield inputs, {FUTURE: self._future[some]}

    def times(self, examples: np.ndarray) -> np.ndarray:
        """Return the times of these windows, int64 [B, L + H]: microseconds since 1970, or numbers of steps."""
        length = self._cut.look_back + self._cut.horizon
        return self._series.times[self._starts[examples][:, None] + np.arange(length)[None, :]]

    def baselines(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        """Return the baselines of these windows, by name, float [B, H, T]; see `series.baselines`."""
        starts = self._starts[examples] + self._cut.look_back
        begins = self._series.offsets[np.searchsorted(self._series.offsets, starts - 1, side="right") - 1]
        return forecasts(self._future, starts, begins, horizon=self._cut.horizon, season=self._season)
