"""The target of a table: classes or numbers, and the task that suits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.tables.raw import Raw
from dltrain.data.targets import as_level, class_levels, suggest_task
from dltrain.errors import DataError
from dltrain.types import Feature, Kind


@dataclass(frozen=True, eq=False)
class Target:
    """The targets of all rows: `array` int32 [N] classes, int32 [N, T] labels or float32 [N, T] numbers."""

    features: Mapping[str, Feature]
    array: np.ndarray
    suggestion: tuple[str, str]

    def words(self, values: Any) -> str:
        """Describe a target in the table of columns; `values` are those of the training rows."""
        (feature,) = self.features.values()
        if feature.kind is Kind.CATEGORY:
            most = max(((values == level).mean() or 0) for level in values.unique().to_list()) if len(values) else 0
            return f"{len(feature.vocabulary)} classes, the largest {most:.1%}"
        if feature.kind is Kind.LABELS:
            return f"true in {float(values.cast(float).mean() or 0):.1%} of the rows"
        return f"from {values.min():.10g} to {values.max():.10g}"


def make_target(
    raw: Raw, names: Sequence[str], *, task: Any, positive: str | None, for_evaluation: bool = False
) -> Target:
    """Return the targets in the form that the task needs.

    Args:
        raw: the rows, none of which lacks a target.
        names: the columns.
        task: what is done with them; None while it is not decided.
        positive: `data.positive`.
        for_evaluation: whether a target may have a single value, since a trained model is evaluated on it.

    Raises:
        DataError: a target has a single value, or is not what the task needs.
    """
    for name in names:
        if raw.frame[name].n_unique() == 1 and not for_evaluation:
            raise DataError(
                f"{raw.files[0]}: the target {name} has a single value, {as_level(raw.frame[name][0])}; there is "
                "nothing to predict"
            )
    suggestion = _suggest(raw, names)
    kinds = {"binary": Kind.CATEGORY, "classification": Kind.CATEGORY, "multilabel": Kind.LABELS}
    kind = kinds.get(suggestion[0], Kind.NUMBERS)
    kind = kind if task is None or task.target_kind is None else task.target_kind
    if kind is Kind.LABELS:
        features, array = _labels(raw, names)
    elif kind is Kind.CATEGORY and len(names) == 1:
        features, array = _classes(raw.frame[names[0]], None if for_evaluation else positive, for_evaluation)
    else:
        features, array = _numbers(raw, names)
    return Target(features, array, suggestion)


def _suggest(raw: Raw, names: Sequence[str]) -> tuple[str, str]:
    if len(names) > 1 and all(_is_label(raw.frame[name]) for name in names):
        return "multilabel", f"{len(names)} columns of 0 and 1: {', '.join(names)}"
    if len(names) > 1:
        return "multitarget", f"{len(names)} numbers: {', '.join(names)}"
    values = raw.frame[names[0]]
    numeric = values.dtype.is_numeric()
    whole = numeric and (values.dtype.is_integer() or bool((values == values.round()).all()))
    if values.dtype.is_temporal():
        numeric, whole = True, False
    return suggest_task(names[0], distinct=values.n_unique(), numeric=numeric, whole=whole)


def _is_label(values: Any) -> bool:
    """Tell whether a column says of each row that something is true or not."""
    import polars as pl

    return values.dtype == pl.Boolean or (values.dtype.is_numeric() and bool(((values == 0) | (values == 1)).all()))


def _labels(raw: Raw, names: Sequence[str]) -> tuple[dict[str, Feature], np.ndarray]:
    for name in names:
        values = raw.frame[name]
        if not _is_label(values):
            numeric = values.dtype.is_numeric()
            row = int(((values != 0) & (values != 1)).arg_max() or 0) if numeric else 0
            what = f"found {values[row]!r}, expected a label, 0 or 1, true or false"
            raise DataError(f"{raw.where(row)}, column {name}: {what}")
    array = np.stack([raw.frame[name].to_numpy().astype(np.int32) for name in names], 1)
    name = names[0] if len(names) == 1 else "targets"
    return {name: Feature(Kind.LABELS, (len(names),), "int32", vocabulary=tuple(names))}, array


def _classes(values: Any, positive: str | None, single: bool) -> tuple[dict[str, Feature], np.ndarray]:
    distinct = values.unique().to_list()
    levels = class_levels(distinct, positive=positive, name=f"target {values.name}", single=single)
    numbers = {value: levels.index(as_level(value)) for value in distinct}
    array = values.replace_strict(list(numbers), list(numbers.values())).to_numpy().astype(np.int32)
    return {values.name: Feature(Kind.CATEGORY, (), "int32", vocabulary=levels)}, array


def _numbers(raw: Raw, names: Sequence[str]) -> tuple[dict[str, Feature], np.ndarray]:
    import polars as pl

    columns = []
    for name in names:
        values = raw.frame[name]
        if values.dtype == pl.String:
            raise DataError(
                f"{raw.where(0)}, column {name}: found {values[0]!r}, expected a number, since the target is to be "
                "predicted as a number; task=classification predicts classes"
            )
        if values.dtype.is_temporal():
            values = values.cast(pl.Datetime("us")).dt.replace_time_zone(None).dt.timestamp("us") / 86_400e6  # days
        columns.append(values.cast(pl.Float64).to_numpy())
    array = np.stack(columns, 1).astype(np.float32)
    name = names[0] if len(names) == 1 else "targets"
    return {name: Feature(Kind.NUMBERS, (len(names),), "float32", names=tuple(names))}, array
