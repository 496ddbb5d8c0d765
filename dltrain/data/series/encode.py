"""Rows of series -> the last window of each, from which a model forecasts the rows that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.series.columns import Fill, fill_in, read_values, to_32_bits
from dltrain.data.series.read import Irregular, Layout, rows_in_order
from dltrain.data.series.splits import Cut
from dltrain.data.series.times import calendar_features, following
from dltrain.data.series.windows import KNOWN, PAST
from dltrain.data.tables.frames import as_frame, is_frame
from dltrain.data.tables.raw import Raw
from dltrain.data.tables.read import check_columns
from dltrain.errors import DataError
from dltrain.types import alone_or_named

HERE = Path("inputs")  # how messages call rows that are not in a file


@dataclass(frozen=True)
class Latest:
    """The last windows of some series.

    Attributes:
        inputs: as the model takes them: `past` [S, L, C], and `known` [S, L + H, K] if there is any.
        ids: the name of each series.
        times: of the forecast rows: dates, or numbers of steps, [S, H].
        short: series with too few rows: name -> what is wrong.
    """

    inputs: Any
    ids: tuple[str, ...]
    times: np.ndarray
    short: Mapping[str, str]


@dataclass(frozen=True)
class SeriesEncoder:
    """Cuts the last window of each series; see `dltrain.data.preprocess.step.Encoder`.

    If columns are known in advance, the last H rows of a series give them for the horizon; their inputs are empty.

    Attributes:
        layout: the columns, by what they are for; `columns` are the inputs.
        cut: rows of a window, and of its horizon.
    """

    layout: Layout
    cut: Cut

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file that are used."""
        layout = self.layout
        named = (layout.time, layout.id, *(layout.columns or ()), *layout.known)
        return tuple(name for name in named if name is not None)

    def encode(self, records: Any) -> Any:
        """Return the arrays of the last windows; arrays stay as they are.

        Args:
            records: the rows: a data frame, columns by name, or a list of dicts.

        Raises:
            DataError: a column is missing, or a series has too few rows.
        """
        names = {PAST, KNOWN}
        given = isinstance(records, Mapping) and set(records) <= names and not names & set(self.columns)
        listed = isinstance(records, list | tuple) and bool(records) and isinstance(records[0], Mapping)
        if given or not (is_frame(records) or isinstance(records, Mapping) or listed):
            return records
        frame = as_frame(records)
        rows = np.arange(len(frame))
        found = self.latest(Raw(frame, (str(HERE),), np.zeros(len(frame), np.int16), rows, ("row",)), HERE)
        if found.short:
            raise DataError(f"inputs: {next(iter(found.short.values()))}")
        return found.inputs

    def latest(self, raw: Raw, path: Path) -> Latest:
        """Return the last window of each series.

        Raises:
            DataError: a column is missing, or rows do not fit; the message names the row.
        """
        layout = replace(self.layout, target=self.layout.columns)
        check_columns(self.columns, raw.frame.columns, path)
        order, offsets, ids, times, dated, _ = rows_in_order(raw, layout, path)
        past = read_values(raw, layout.columns or (), order)
        known = read_values(raw, layout.known, order)
        line = raw.rows[order]
        parts, names, ahead, short = [], [], [], {}
        for name, low, high in zip(ids, offsets[:-1], offsets[1:], strict=True):
            end = high - (self.cut.horizon if layout.known else 0)
            who = f"the series {name}" if layout.id else str(path)
            if wrong := self._too_short(who, past, low, end, high):
                short[name] = wrong
                continue
            rows, future = slice(end - self.cut.look_back, end), slice(end - self.cut.look_back, high)
            part = {PAST: self._filled(past[rows], layout.columns or (), line[rows], path)}
            until = times[end:high] if layout.known else following(times[low:high], self.cut.horizon, dated=dated)
            if layout.known or layout.calendar:
                part[KNOWN] = self._known(known[future], times[rows], until, line[future], path)
            parts.append(part)
            names.append(name)
            ahead.append(until.astype("datetime64[us]") if dated else until)
        inputs = {name: np.stack([part[name] for part in parts]) for name in (parts[0] if parts else ())}
        stacked = np.stack(ahead) if ahead else np.zeros((0, self.cut.horizon), np.int64)
        return Latest(alone_or_named(inputs) if parts else None, tuple(names), stacked, short)

    def _too_short(self, who: str, past: np.ndarray, low: int, end: int, high: int) -> str:
        """Say what is missing of a series, "" if nothing is."""
        if (count := max(0, end - low)) < self.cut.look_back:
            return f"{who} has {count} rows, and the model needs the last {self.cut.look_back}"
        if self.layout.known and not np.isnan(past[end:high]).all():
            known = ", ".join(self.layout.known)
            return (
                f"{who}: the last {self.cut.horizon} rows must give {known} for the forecast, and have no other "
                "values; append them"
            )
        return ""

    def _filled(self, values: np.ndarray, names: Sequence[str], line: np.ndarray, path: Path) -> np.ndarray:
        values = values.copy()
        fill_in(values, names, np.array([0, len(values)]), line, self.layout.fill, path)
        return to_32_bits(values, names, line, path)

    def _known(
        self, values: np.ndarray, times: np.ndarray, until: np.ndarray, line: np.ndarray, path: Path
    ) -> np.ndarray:
        """Return what is known from the window's first row to the end of the horizon, float32 [L + H, K]."""
        parts = [self._filled(values, self.layout.known, line, path)] if self.layout.known else []
        if self.layout.calendar:
            parts.append(calendar_features(np.concatenate([times, until]))[1])
        return np.concatenate(parts, 1)

    def to_json(self) -> dict[str, Any]:
        """Return the columns and the lengths."""
        return {"layout": asdict(self.layout), "cut": asdict(self.cut)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "SeriesEncoder":
        """Rebuild the encoder."""
        plain = dict(saved["layout"])
        lists = {
            name: None if plain[name] is None else tuple(plain[name]) for name in ("columns", "target", "known")
        }
        fill = None if plain["fill"] is None else Fill(plain["fill"])
        plain |= {**lists, "known": lists["known"] or (), "fill": fill, "irregular": Irregular(plain["irregular"])}
        return cls(Layout(**plain), Cut(**{name: int(value) for name, value in saved["cut"].items()}))
