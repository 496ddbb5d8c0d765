"""Encoders of data sets whose inputs follow from their features alone: images of a size, and named numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.bad import Problem
from dltrain.data.images.decode import MODES
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.tables.frames import as_frame, check_named, is_frame
from dltrain.data.tables.values import numbers_of
from dltrain.errors import DataError
from dltrain.types import Feature, Kind, Spec


@dataclass(frozen=True)
class NumbersEncoder:
    """Takes columns of numbers by their names; see `dltrain.data.preprocess.step.Encoder`.

    Attributes:
        names: the columns, in the order of the model's inputs.
        dtype: of the array.
    """

    names: tuple[str, ...]
    dtype: str = "float32"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file that are used."""
        return self.names

    @property
    def features(self) -> dict[str, Feature]:
        """The input that `encode` returns."""
        return {"numbers": Feature(Kind.NUMBERS, (len(self.names),), self.dtype, self.names)}

    def encode(self, records: Any) -> Any:
        """Return the columns, [N, F]; an array stays as it is.

        Raises:
            DataError: a column is missing, or holds something else than numbers.
        """
        named = is_frame(records) or isinstance(records, Mapping)
        if not named and not (isinstance(records, list) and records and isinstance(records[0], Mapping)):
            return records
        frame = as_frame(records)
        check_named(self.names, frame.columns)
        found = [numbers_of(frame[name], "").to_numpy() for name in self.names]
        array = np.stack(found, 1).astype(self.dtype)
        if (bad := ~np.isfinite(array)).any():
            row, column = np.argwhere(bad)[0]
            raise DataError(f"inputs: column {self.names[column]}, index {row}: no value; expected a number")
        return array

    def problems(self, records: Any) -> dict[int, Problem]:
        """Return what is wrong with rows that `encode` refuses, by their places."""
        frame, found = as_frame(records), {}
        for name in self.names if set(self.names) <= set(frame.columns) else ():
            values = frame[name]
            numbers = (
                values.cast(float, strict=False)
                if values.dtype != str
                else values.str.strip_chars().cast(float, strict=False)
            )
            for row in (~(numbers.is_finite().fill_null(False))).arg_true().to_list():
                found.setdefault(row, Problem(name, f"found {values[row]!r}, expected a number"))
        return found


def encoder_for(spec: Spec) -> Any:
    """Return an encoder of inputs that need nothing fitted, or None if there is none."""
    if len(spec.contents) != 1 or len(spec.inputs) != 1:
        return None
    feature = spec.input
    if feature.kind is Kind.IMAGE and feature.dtype == "uint8" and len(feature.shape) == 3:
        high, wide, channels = feature.shape
        return ImageEncoder(high, channels=channels) if high == wide and channels in MODES else None
    if feature.kind is Kind.NUMBERS and feature.names:
        return NumbersEncoder(feature.names, feature.dtype)
    return None
