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
    one edge, so a column with few different values has fewer bins.

    Args:
        count: the largest number of bins of a column.
    """

    count: Size = 48

    def fit(self, blocks: Iterable[np.ndarray]) -> Bins:
        """Fit on blocks of examples, [n, columns], in one pass."""
        sample = Sample()
        for block in blocks:
            sample.add(block)
        found = np.quantile(sample.rows().astype(np.float64), np.linspace(0, 1, self.count + 1), axis=0)
        columns = [np.unique(column.astype(np.float32)).tolist() for column in found.T]
        return Bins(tuple(tuple(c) if len(c) > 1 else (c[0], c[0] + 1.0) for c in columns))

    def to_json(self) -> dict[str, Any]:
        """Return the option; what is fitted is a `Bins`."""
        return {"count": self.count}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "QuantileBins":
        """Rebuild the step that is not fitted yet."""
        return cls(int(saved["count"]))
