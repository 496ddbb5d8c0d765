"""Bins of the columns of a table, for piecewise linear embeddings: a fitted step that only describes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.data.preprocess.sample import Sample
from dltrain.ranges import Size
from dltrain.types import Feature


@dataclass(frozen=True)
class Bins:
    """A fitted step: the edges of the bins of each column, ascending; it changes no value, and tells the model."""

    edges: tuple[tuple[float, ...], ...]

    def fit(self, blocks: Iterable[np.ndarray]) -> "Bins":
        """Return the step itself: its edges are given."""
        del blocks
        return self

    def describe(self, feature: Feature) -> Feature:
        """Return the feature with its bins."""
        return replace(feature, bins=self.edges)

    def to_json(self) -> dict[str, list[list[float]]]:
        """Return the edges as lists."""
        return {"edges": [list(column) for column in self.edges]}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Bins":
        """Rebuild the edges; ValueError if they do not ascend."""
        edges = tuple(tuple(float(edge) for edge in column) for column in saved["edges"])
        if any(len(column) < 2 or not (np.diff(column) > 0).all() for column in edges):
            raise ValueError("edges must be a list of at least two ascending numbers for each column")
        return cls(edges)


@dataclass(frozen=True)
class QuantileBins:
    """A step that fits bins with about equally many training values each, from quantiles of each column.

    Gorishniy, Rubachev and Babenko, On embeddings for numerical features, arXiv:2203.05556. Equal quantiles make
    one edge; as many edges more are quantiles of the different values, so that the few values of a column of mostly
    zeros have bins as well. A column with few different values has fewer bins.

    Args:
        count: the largest number of bins of a column.
    """

    count: Size = 48

    def fit(self, blocks: Iterable[np.ndarray]) -> Bins:
        """Fit on blocks of examples, [n, columns], in one pass."""
        sample = Sample()
        for block in blocks:
            sample.add(block)
        return Bins(tuple(_edges(column, self.count) for column in sample.rows().T))

    def to_json(self) -> dict[str, Any]:
        """Return the option; what is fitted is a `Bins`."""
        return {"count": self.count}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "QuantileBins":
        """Rebuild the step that is not fitted yet."""
        return cls(int(saved["count"]))


def _edges(values: np.ndarray, count: int) -> tuple[float, ...]:
    """Return at most count + 1 ascending edges for a column, at least two."""
    values = values.astype(np.float32)
    edges = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, count + 1)).astype(np.float32))
    if missing := count + 1 - len(edges):
        places = np.linspace(0, 1, missing + 2)[1:-1]
        more = np.quantile(np.unique(values), places, method="nearest")
        edges = np.unique(np.concatenate([edges, more]))
    return tuple(edges.tolist()) if len(edges) > 1 else (float(edges[0]), float(edges[0]) + 1.0)
