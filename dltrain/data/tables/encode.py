"""Rows of a table -> arrays of a model's inputs: numbers with missing ones filled in, and levels of categories."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.data.tables.columns import Column, Meaning
from dltrain.errors import DataError
from dltrain.types import Feature, Kind

MISSING = "(missing)"
"""The level of a category that stands for a missing value, if there were any in training."""


class TableEncoder:
    """What was fitted on the training rows: a median for each column of numbers, the levels of each category.

    A missing number becomes the median, and a column `NAME is missing` says so if any was missing in training. A
    level that was not seen becomes 0, which stands for unknown.
    """

    def __init__(self, numbers: Mapping[str, Mapping[str, Any]], categories: Mapping[str, Sequence[str]]) -> None:
        """Keep what was fitted; see `fit`."""
        self.numbers = {name: dict(fitted) for name, fitted in numbers.items()}
        self.categories = {name: list(levels) for name, levels in categories.items()}

    @classmethod
    def fit(cls, frame: Any, columns: Sequence[Column]) -> "TableEncoder":
        """Fit on the training rows, a polars frame."""
        numbers, categories = {}, {}
        for column in columns:
            values = frame[column.name]
            if column.meaning is Meaning.NUMBER:
                median = values.median()
                numbers[column.name] = {"median": float(median or 0), "indicator": values.null_count() > 0}
            if column.meaning is Meaning.CATEGORY:
                levels = values.cast(str).drop_nulls().unique().sort().to_list()
                categories[column.name] = [*levels, *([MISSING] if values.null_count() else [])]
        return cls(numbers, categories)

    @property
    def features(self) -> dict[str, Feature]:
        """The inputs that `encode` returns, by name."""
        names = [*self.numbers, *(f"{n} is missing" for n, fitted in self.numbers.items() if fitted["indicator"])]
        found = {"numbers": Feature(Kind.NUMBERS, (len(names),), "float32", tuple(names))}
        levels = tuple(tuple(levels) for levels in self.categories.values())
        found["categories"] = Feature(
            Kind.CATEGORIES, (len(levels),), "int32", tuple(self.categories), levels=levels
        )
        return {name: feature for name, feature in found.items() if feature.shape[0]}

    def encode(self, records: Any) -> Any:
        """Return the arrays of the inputs; see `dltrain.data.preprocess.step.Encoder`."""
        import polars as pl

        if isinstance(records, Mapping) and set(records) == set(self.features):
            return records  # arrays already
        frame = records if isinstance(records, pl.DataFrame) else pl.DataFrame(dict(records), strict=False)
        if lost := [name for name in (*self.numbers, *self.categories) if name not in frame.columns]:
            raise DataError(f"inputs: the column {lost[0]} is missing; there are {', '.join(frame.columns)}")
        found = {}
        if self.numbers:
            found["numbers"] = self._numbers(frame)
        if self.categories:
            found["categories"] = self._categories(frame)
        return found if len(found) > 1 else next(iter(found.values()))

    def _numbers(self, frame: Any) -> np.ndarray:
        import polars as pl

        columns, flags = [], []
        for name, fitted in self.numbers.items():
            values = frame[name].cast(pl.Float64, strict=False)
            columns.append(values.fill_null(fitted["median"]).fill_nan(fitted["median"]).to_numpy())
            if fitted["indicator"]:
                flags.append((values.is_null() | values.is_nan().fill_null(False)).to_numpy())
        return np.stack([*columns, *flags], 1).astype(np.float32)

    def _categories(self, frame: Any) -> np.ndarray:
        import polars as pl

        columns = []
        for name, levels in self.categories.items():
            numbers = {level: i + 1 for i, level in enumerate(levels)}
            values = frame[name].cast(pl.String).fill_null(MISSING)
            columns.append(values.replace_strict(numbers, default=0, return_dtype=pl.Int32).to_numpy())
        return np.stack(columns, 1)

    def to_json(self) -> dict[str, Any]:
        """Return what was fitted."""
        return {"numbers": self.numbers, "categories": self.categories}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "TableEncoder":
        """Rebuild the encoder."""
        return cls(saved["numbers"], saved["categories"])
