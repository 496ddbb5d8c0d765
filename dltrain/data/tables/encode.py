"""Rows of a table -> arrays of a model's inputs: numbers without gaps, levels of categories, texts and images."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dltrain.data.bad import Problem
from dltrain.data.images.column import ImageColumn
from dltrain.data.images.decode import Resize
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.images.options import ImageOptions
from dltrain.data.preprocess.offset import moments_of
from dltrain.data.tables.columns import Column, Meaning
from dltrain.data.tables.convert import Kind as Written
from dltrain.data.tables.convert import apply_kind, missing_as_null
from dltrain.data.tables.dates import PARTS, date_parts, varying_parts
from dltrain.data.tables.frames import as_frame, check_named
from dltrain.data.tables.options import MISSING
from dltrain.data.tables.values import dates_of, levels_of, numbers_of, problems_of, texts_of
from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.types import Feature, Kind

LEVEL_OF_MISSING = "(missing)"
"""The level of a category for missing values, if there were any in training."""


@dataclass(frozen=True)
class TableEncoder:
    """What was fitted on the training rows.

    A missing number becomes the median, and a column `NAME is missing` says so if any was missing in training. A
    level that was not seen becomes 0, the unknown level. A date becomes the parts that vary (year, month,
    day, weekday, hour, ...), each a number.

    Attributes:
        numbers: column -> `median`, `indicator` (whether any was missing), and `sign` (what a comma means).
        dates: column -> `format` of its texts, `parts` with their medians, and `indicator`.
        categories: column -> its levels, in the order of their numbers from 1.
        kinds: column of categories whose texts stood for something else, such as true and false -> kind and detail
            of that, so that `True` is the level `true` in texts that are given later, too.
        missing: markers of a missing value.
        texts: column -> its texts as hashed words and pairs of words; each is an input of its own.
        images: column -> how the files that it names are decoded; each is an input of its own.
        dtype: of the numbers; float64 if float32 would lose differences between values.
        identifiers: columns that are no inputs but identify the rows; predictions repeat them.
    """

    numbers: Mapping[str, Mapping[str, Any]]
    categories: Mapping[str, Sequence[str]]
    dates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[str, FittedTexts] = field(default_factory=dict)
    images: Mapping[str, ImageColumn] = field(default_factory=dict)
    missing: Sequence[str] = MISSING
    dtype: str = "float32"
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    identifiers: Sequence[str] = ()

    @classmethod
    def fit(
        cls,
        frame: Any,
        columns: Sequence[Column],
        *,
        written: Mapping[str, Written] | None = None,
        missing: Sequence[str] = MISSING,
        images: ImageOptions | None = None,
    ) -> "TableEncoder":
        """Fit on the training rows, a polars frame.

        Args:
            frame: the rows.
            columns: what the columns mean; others are left out.
            written: how the texts of columns were read, so that texts given later are read alike.
            missing: markers of a missing value.
            images: how images are decoded; None where no column names any.
        """
        numbers, dates, categories, texts, decoded, kinds = {}, {}, {}, {}, {}, {}
        for column in columns:
            values, how = frame[column.name], (written or {}).get(column.name, Written("text"))
            flag = {"indicator": values.null_count() > 0}
            if column.meaning is Meaning.NUMBER:
                sign = how.detail if how.kind == "number" else ""
                numbers[column.name] = {"median": _median(numbers_of(values, sign)), "sign": sign, **flag}
            if column.meaning is Meaning.DATE:
                found = varying_parts(dates_of(values, how.detail))
                dates[column.name] = {"format": how.detail, "parts": found, **flag}
            if column.meaning is Meaning.CATEGORY:
                levels = levels_of(values).drop_nulls().unique().sort().to_list()
                categories[column.name] = [*levels, *([LEVEL_OF_MISSING] if values.null_count() else [])]
                kinds |= {column.name: (how.kind, how.detail)} if how.kind != "text" else {}
            if column.meaning is Meaning.TEXT:
                plain = [text or "" for text in texts_of(values)]
                texts[column.name] = FittedTexts.fit(plain, TextOptions(Tokens.NGRAMS))
            if column.meaning is Meaning.IMAGE and images is not None:
                encoder = ImageEncoder(images.size, Resize(images.resize), images.channels)
                decoded[column.name] = ImageColumn(encoder, **flag)
        named = tuple(column.name for column in columns if column.meaning is Meaning.IDENTIFIER)
        encoder = cls(numbers, categories, dates, texts, decoded, tuple(missing), kinds=kinds, identifiers=named)
        if not encoder._names:
            return encoder
        coarse = moments_of(encoder._table(frame).astype(np.float64)).is_coarse.any()
        return replace(encoder, dtype="float64" if coarse else "float32")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file that are used."""
        return (*self.numbers, *self.dates, *self.categories, *self.texts, *self.images)

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the numbers that a model is given."""
        parts = (f"{name} {part}" for name, fitted in self.dates.items() for part in fitted["parts"])
        fitted = {**self.numbers, **self.dates}
        flags = [*(name for name in fitted if fitted[name]["indicator"]), *self._images_with_indicator]
        return (*self.numbers, *parts, *(f"{name} is missing" for name in flags))

    @property
    def _images_with_indicator(self) -> tuple[str, ...]:
        """Columns of images with an indicator of the missing ones."""
        return tuple(name for name, fitted in self.images.items() if fitted.indicator)

    @property
    def features(self) -> dict[str, Feature]:
        """The inputs that `encode` returns, by name."""
        found = {"numbers": Feature(Kind.NUMBERS, (len(self._names),), self.dtype, self._names)}
        levels = tuple(tuple(levels) for levels in self.categories.values())
        found["categories"] = Feature(
            Kind.CATEGORIES, (len(levels),), "int32", tuple(self.categories), levels=levels
        )
        own = {self.input_of(name): fitted.feature for name, fitted in (*self.texts.items(), *self.images.items())}
        return {name: feature for name, feature in found.items() if feature.shape[0]} | own

    def input_of(self, column: str) -> str:
        """Return the name of the input of a column of texts or images: a word that no other input has."""
        taken = ["numbers", "categories"]
        for name in (*self.texts, *self.images):
            plain = re.sub(r"\W+", "_", name)
            taken.append(plain if plain not in taken else f"{plain}_{len(taken)}")
            if name == column:
                break
        return taken[-1]

    def encode(self, records: Any) -> Any:
        """Return the arrays of the inputs; see `dltrain.data.preprocess.step.Encoder`.

        Raises:
            DataError: a column is missing, or a value is not of the kind of its column.
        """
        if self._are_arrays(records):
            return records
        frame = as_frame(records)
        decoded = {}
        for name in self.images:
            if name in frame.columns:
                files = texts_of(missing_as_null(frame[name], self.missing))
                decoded[name] = self.images[name].decode(
                    files, lambda i, name=name: f"inputs: column {name}, index {i}"
                )
        return self.encode_frame(frame, decoded)

    def encode_frame(self, frame: Any, images: Mapping[str, np.ndarray]) -> Any:
        """Return the arrays of the inputs, given those of the images.

        Args:
            frame: the rows, a polars frame.
            images: column -> uint8 [N, H, W, C].

        Raises:
            DataError: a column is missing, or a value is not of the kind of its column.
        """
        check_named(self.columns, frame.columns)
        found = {}
        if self._names:
            found["numbers"] = self._table(frame).astype(self.dtype)
        if self.categories:
            found["categories"] = self._categories(frame)
        for name, fitted in self.texts.items():
            values = missing_as_null(frame[name], self.missing)
            found[self.input_of(name)] = fitted.encode(texts_of(values))[0]
        found |= {self.input_of(name): pixels for name, pixels in images.items()}
        return found if len(found) > 1 else next(iter(found.values()))

    def problems(self, records: Any) -> dict[int, Problem]:
        """Return what is wrong with rows that `encode` refuses, by their places; {} if it is not single rows."""
        frame, found = as_frame(records), {}
        kinds = {name: Written("number", fitted["sign"]) for name, fitted in self.numbers.items()}
        kinds |= {name: Written("date", fitted["format"] or "%Y-%m-%d") for name, fitted in self.dates.items()}
        for name, kind in kinds.items():
            if name in frame.columns:
                found = {**problems_of(missing_as_null(frame[name], self.missing), kind), **found}
        for name, fitted in self.images.items():
            if name in frame.columns:
                files = texts_of(missing_as_null(frame[name], self.missing))
                found = {**{i: Problem(name, why) for i, why in fitted.problems(files).items()}, **found}
        return found

    def _are_arrays(self, records: Any) -> bool:
        """Tell whether these are arrays that `encode` returned."""
        names = set(self.features)
        if isinstance(records, Mapping):
            return set(records) == names and not names <= set(self.columns)
        return len(names) == 1 and not hasattr(records, "columns") and np.asarray(records).dtype.kind in "fiu"

    def _table(self, frame: Any) -> np.ndarray:
        """Return the numbers, float64 [N, F]."""
        columns, flags = [], []
        for name, fitted in self.numbers.items():
            values = numbers_of(missing_as_null(frame[name], self.missing), fitted["sign"])
            columns.append(_filled(values, fitted["median"]))
            flags += [values.is_null().to_numpy()] if fitted["indicator"] else []
        for name, fitted in self.dates.items():
            dates = dates_of(missing_as_null(frame[name], self.missing), fitted["format"])
            columns += [_filled(date_parts(dates, part), median) for part, median in fitted["parts"].items()]
            flags += [dates.is_null().to_numpy()] if fitted["indicator"] else []
        flags += [
            missing_as_null(frame[name], self.missing).is_null().to_numpy() for name in self._images_with_indicator
        ]
        return np.stack([*columns, *flags], 1).astype(np.float64)

    def _categories(self, frame: Any) -> np.ndarray:
        import polars as pl

        columns = []
        for name, levels in self.categories.items():
            numbers = {level: i + 1 for i, level in enumerate(levels)}
            values = self.level_texts(missing_as_null(frame[name], self.missing)).fill_null(LEVEL_OF_MISSING)
            columns.append(values.replace_strict(numbers, default=0, return_dtype=pl.Int32).to_numpy())
        return np.stack(columns, 1)

    def level_texts(self, values: Any) -> Any:
        """Return a column as the texts of its levels."""
        import polars as pl

        if values.name not in self.kinds or values.dtype != pl.String:
            return levels_of(values)
        found, _ = apply_kind(values.str.strip_chars(), Written(*self.kinds[values.name]))
        return levels_of(found).fill_null(values)  # what does not fit is not a level

    def to_json(self) -> dict[str, Any]:
        """Return what was fitted."""
        plain = {"numbers": self.numbers, "categories": self.categories, "dates": self.dates}
        texts = {name: fitted.to_json() for name, fitted in self.texts.items()}
        images = {name: fitted.to_json() for name, fitted in self.images.items()}
        return {**plain, "texts": texts, "images": images, "missing": list(self.missing), "dtype": self.dtype} | {
            "kinds": {name: list(kind) for name, kind in self.kinds.items()},
            "identifiers": list(self.identifiers),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "TableEncoder":
        """Rebuild the encoder."""
        for fitted in saved["dates"].values():
            if unknown := set(fitted["parts"]) - set(PARTS):
                raise ValueError(f"{unknown.pop()} is not a part of a date")
        parts = {name: saved[name] for name in ("numbers", "categories", "dates")}
        texts = {name: FittedTexts.from_json(fitted) for name, fitted in saved["texts"].items()}
        images = {name: ImageColumn.from_json(fitted) for name, fitted in saved["images"].items()}
        return cls(
            **parts,
            texts=texts,
            images=images,
            missing=tuple(saved["missing"]),
            dtype=saved["dtype"],
            kinds=saved["kinds"],
            identifiers=tuple(saved["identifiers"]),
        )


def _median(values: Any) -> float:
    return float(values.median() or 0)


def _filled(values: Any, median: float) -> np.ndarray:
    return values.fill_null(median).to_numpy()
