"""Config -> splits: which way `data.split` is, and the columns of the data that it goes by."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dltrain.data.by_column import groups_of, splits_of, times_of
from dltrain.data.description import where_of
from dltrain.data.draws import quantiles
from dltrain.data.split import Splits, make_splits
from dltrain.errors import ConfigError
from dltrain.types import Kind, Spec

KEYS = {"group": "group", "column": "split_column", "time": "time"}
"""Value of `data.split` -> the key that names its column."""


@dataclass(frozen=True)
class Splitting:
    """The splits, and the groups that they are to keep whole, int [N], if there are any."""

    splits: Splits
    groups: np.ndarray | None = None


def split_source(own: Mapping[str, Any], source: Any, targets: Any, spec: Spec) -> Splitting:
    """Split the examples of a source.

    Args:
        own: the engine's keys of the node `data`.
        source: the source; `column(name)` returns the values of a column [N], if it has columns.
        targets: the targets of all examples.
        spec: its features.

    Raises:
        ConfigError: the keys do not fit each other, or the data.
        DataError: a column does not say what it should, or a split has no example.
    """
    if own["fold"] >= (own["folds"] or 1):
        numbered = f"folds are numbered from 0 to {own['folds'] - 1}" if own["folds"] else "set data.folds=5, too"
        raise ConfigError(f"data.fold={own['fold']}: {numbered}")
    if own["folds"] and getattr(source, "ordered", False):
        raise ConfigError(
            f"data.folds={own['folds']}: windows of a series overlap, so that a model would be trained on what it "
            "is evaluated on; set data.folds=null, and move the borders (data.borders)"
        )
    way, published = _way(own, source), dict(source.published)
    labels = targets if spec.has_labels else None
    groups = times = None
    if way in KEYS:
        name = own[KEYS[way]]
        values, where = _column(source, KEYS[way], name), partial(where_of, source)
        groups = groups_of(values) if way == "group" else None
        times = times_of(values, name, where) if way == "time" else None
        published |= splits_of(values, name, where) if way == "column" else {}
    if way == "random":
        labels = None
    if way == "stratified" and labels is None:
        labels = _quantiles(targets, spec)
    if own["folds"] and times is not None:
        raise ConfigError(f"data.folds={own['folds']}: folds would train on what comes later; leave data.time out")
    cut = {name: own[name] for name in ("folds", "fold", "validation", "test")}
    splits = make_splits(
        labels, len(source), published=published, seed=own["split_seed"], groups=groups, times=times, **cut
    )
    return Splitting(splits, groups)


def _way(own: Mapping[str, Any], source: Any) -> str:
    """Return the way to split; `auto` is the one whose column is named, else stratified by class, or random."""
    way = own["split"]
    if way in KEYS:
        if own[KEYS[way]] is None:
            raise ConfigError(f"data.split={way}: name the column: data.{KEYS[way]}=COLUMN")
        return way
    named = [each for each, key in KEYS.items() if own[key] is not None]
    if not hasattr(source, "column") and "time" in named:
        named.remove("time")  # which a series reads for other ends: it has its own splits
    if way == "auto" and len(named) == 1:
        return named[0]
    if named and (way != "auto" or set(named) != {"time"}):
        keys = " ".join(f"data.{KEYS[each]}={own[KEYS[each]]}" for each in named)
        raise ConfigError(
            f"data.split={way}, {keys}: choose one way to split: data.split={named[0]}, or leave it out"
        )
    return way


def _column(source: Any, key: str, name: str) -> np.ndarray:
    if not hasattr(source, "column"):
        raise ConfigError(f"data.{key}={name}: this data has no columns to split by; try data.split=random")
    return source.column(name)


def _quantiles(targets: Any, spec: Spec) -> np.ndarray:
    """Return classes of the first target, to stratify a regression by."""
    kinds = [feature.kind for feature in spec.targets.values()]
    if kinds != [Kind.NUMBERS] or isinstance(targets, Mapping):
        raise ConfigError("data.split=stratified: the targets of this data are neither classes nor numbers")
    return quantiles(np.asarray(targets).reshape(len(targets), -1)[:, 0])
