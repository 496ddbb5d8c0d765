"""Texts -> arrays of a model's inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.data.tables.frames import check_named
from dltrain.data.texts.fitted import FittedTexts
from dltrain.errors import DataError
from dltrain.types import Feature, Kind


class TextEncoder:
    """Turns the texts of one column into tokens and their lengths; see `dltrain.data.preprocess.step.Encoder`."""

    def __init__(self, column: str, fitted: FittedTexts) -> None:
        """Keep what was fitted, and the name of the column in the file."""
        self.column, self.fitted = column, fitted

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file that are used."""
        return (self.column,)

    @property
    def features(self) -> dict[str, Feature]:
        """The inputs that `encode` returns, by name."""
        feature = self.fitted.feature
        if feature.kind is Kind.NGRAMS:  # the order means nothing, and padding is 0
            return {"ngrams": feature}
        return {"tokens": feature, "length": Feature(Kind.LENGTH, (), "int32")}

    def encode(self, records: Any) -> Any:
        """Return the tokens of texts with their lengths, or their n-grams; arrays stay as they are.

        Args:
            records: a list of texts, or a dict or data frame with the column of the texts.

        Raises:
            DataError: the column is missing, or holds something else than texts.
        """
        if isinstance(records, np.ndarray) and records.dtype.kind in "iu":
            return records
        if isinstance(records, str):
            raise DataError("inputs: expected a list of texts, found one text; put it into a list")
        if isinstance(records, Mapping) or hasattr(records, "columns"):
            if isinstance(records, Mapping) and set(records) == set(self.features):
                return records
            check_named([self.column], list(records if isinstance(records, Mapping) else records.columns))
            records = records[self.column]
        tokens, lengths = self.fitted.encode(self._checked(list(records)))
        return tokens if self.fitted.feature.kind is Kind.NGRAMS else {"tokens": tokens, "length": lengths}

    def _checked(self, texts: Sequence[Any]) -> Sequence[str | None]:
        for i, text in enumerate(texts):
            if text is not None and not isinstance(text, str):
                raise DataError(f"inputs: {self.column} of example {i} is {text!r}, expected a text")
        return texts

    def to_json(self) -> dict[str, Any]:
        """Return what was fitted."""
        return {"column": self.column, "texts": self.fitted.to_json()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "TextEncoder":
        """Rebuild the encoder."""
        return cls(saved["column"], FittedTexts.from_json(saved["texts"]))
