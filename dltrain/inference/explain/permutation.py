"""Permutation importance: how much worse a model is when a column is shuffled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.inference.explain.columns import Column, with_rows
from dltrain.inference.student import quantile
from dltrain.types import Spec


@dataclass(frozen=True)
class Importance:
    """The rise of the loss, and the fall of a metric, when a column is permuted (Breiman 2001; Fisher et al. 2019).

    Attributes:
        columns: their names.
        scores: name of the loss or metric -> its value on the data as it is.
        drops: name -> how much worse it is with a column permuted, [columns, repeats]; above 0 means worse.
        higher: name -> whether a higher score is better.
        split: the examples, for people.
        rows: how many these are.
    """

    columns: tuple[str, ...]
    scores: Mapping[str, float]
    drops: Mapping[str, np.ndarray]
    higher: Mapping[str, bool]
    split: str
    rows: int

    def mean(self, name: str = "loss") -> np.ndarray:
        """Return the mean over the repeats, [columns]."""
        return self.drops[name].mean(1)

    def deviation(self, name: str = "loss") -> np.ndarray:
        """Return the standard deviation over the repeats, [columns]; 0 for a single one."""
        values = self.drops[name]
        return values.std(1, ddof=1) if values.shape[1] > 1 else np.zeros(len(values))

    def half_width(self, name: str = "loss") -> np.ndarray:
        """Return half the width of the 95 % interval of the mean, by Student's t; NaN for a single repeat."""
        repeats = self.drops[name].shape[1]
        return quantile(repeats - 1) * self.deviation(name) / np.sqrt(repeats)

    def order(self, name: str = "loss") -> np.ndarray:
        """Return the columns from the most important on, int [columns]."""
        return np.argsort(-np.nan_to_num(self.mean(name), nan=-np.inf), kind="stable")


def permutations(rows: int, repeats: int, *, seed: int, column: int) -> np.ndarray:
    """Return the orders of the rows in which a column is taken, int [repeats, rows]; equal for an equal seed."""
    return np.stack([np.random.default_rng([seed, column, i]).permutation(rows) for i in range(repeats)])


def permutation_importance(
    score: Callable[[Any], Mapping[str, float]],
    inputs: Any,
    columns: Sequence[Column],
    *,
    spec: Spec,
    higher: Mapping[str, bool],
    repeats: int,
    seed: int,
    split: str,
    advance: Callable[[int], None] = lambda count: None,
) -> Importance:
    """Evaluate the model with each column permuted, all that a column became together.

    Args:
        score: returns the loss and the metrics of inputs.
        inputs: arrays [N, ...] of the examples, or a dict of them by name.
        columns: what is permuted, one after the other.
        spec: the features of the data.
        higher: the scores to compare -> whether higher is better.
        repeats: how often each column is permuted.
        seed: of the permutations.
        split: the examples, for people.
        advance: is told of each evaluation.
    """
    plain = score(inputs)
    rows = len(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)
    drops = {name: np.zeros((len(columns), repeats)) for name in higher}
    for i, column in enumerate(columns):
        for k, order in enumerate(permutations(rows, repeats, seed=seed, column=i)):
            found = score(with_rows(inputs, column, order, spec))
            for name, up in higher.items():
                drops[name][i, k] = (plain[name] - found[name]) if up else (found[name] - plain[name])
            advance(1)
    names = tuple(column.name for column in columns)
    return Importance(names, {name: float(plain[name]) for name in higher}, drops, dict(higher), split, rows)
