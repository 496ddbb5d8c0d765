"""Precision, recall, F1 and IoU: ratios of counts per class, averaged over the classes."""

from enum import StrEnum
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import actual, count_classes, predicted
from dltrain.metrics.sums import kept
from dltrain.types import Array, Batch, Spec


class Averaging(StrEnum):
    """How the scores of the classes are averaged."""

    MACRO = "macro"  # their mean
    MICRO = "micro"  # from the counts of all classes together
    WEIGHTED = "weighted"  # their mean, weighted by how often each class occurs
    BINARY = "binary"  # class 1 only
    NONE = "none"  # no average: a score per class, by name


class HitState(NamedTuple):
    """Examples per class, int32 [K] each: true positives, predicted, and actual."""

    hits: Array
    found: Array
    there: Array


class ClassHits:
    """Counts per class, and the average of the ratio of two counts, shared by precision, recall, F1 and IoU."""

    def __init__(self, average: Averaging, spec: Spec):
        """Check that the average fits the task."""
        self.average = Averaging(average)
        self.classes = count_classes(spec)
        if self.average is Averaging.BINARY and self.classes != 2:
            raise ValueError(f"average=binary needs two classes, the data has {self.classes}; use average=macro")
        self.names = spec.classes or tuple(str(i) for i in range(self.classes))

    def zero(self) -> HitState:
        """Return the state without examples."""
        zero = jnp.zeros(self.classes, jnp.int32)
        return HitState(zero, zero, zero)

    def add(self, state: HitState, outputs: Array, batch: Batch) -> HitState:
        """Add a batch."""
        true, found = actual(outputs, batch), predicted(outputs)
        keep = kept(true, batch) & (true >= 0)

        def counted(counts: Array, labels: Array, where: Array) -> Array:
            return counts.at[jnp.where(where, labels, self.classes)].add(1, mode="drop")

        return HitState(
            counted(state.hits, true, keep & (true == found)),
            counted(state.found, found, keep),
            counted(state.there, true, keep),
        )

    def ratio(self, state: HitState, part: np.ndarray, whole: np.ndarray) -> float | dict[str, float]:
        """Average `part / whole` over the classes.

        As in scikit-learn, a class that is neither actual nor predicted is left out of an average, and one with an
        undefined ratio counts as 0 in it; without an average (`none`, `binary`, or no class left) it is NaN.
        """
        there, found = np.asarray(state.there, np.float64), np.asarray(state.found, np.float64)
        scores = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
        seen = (there + found) > 0
        match self.average:
            case Averaging.NONE:
                return {name: float(score) for name, score in zip(self.names, scores, strict=True)}
            case Averaging.BINARY:
                return float(scores[1])
            case Averaging.MICRO:
                return float(part.sum() / whole.sum()) if whole.sum() > 0 else float("nan")
            case Averaging.MACRO:
                weights = seen.astype(np.float64)
            case Averaging.WEIGHTED:
                weights = there
        if weights.sum() == 0:
            return float("nan")
        return float(np.average(np.nan_to_num(scores), weights=weights))


class Precision:
    """The share of the predictions of a class that are right."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro, micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        return self.counts.ratio(state, np.asarray(state.hits, np.float64), np.asarray(state.found, np.float64))


class Recall:
    """The share of the examples of a class that are found."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro, micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        return self.counts.ratio(state, np.asarray(state.hits, np.float64), np.asarray(state.there, np.float64))


class F1:
    """The harmonic mean of precision and recall: 2·hits / (predicted + actual)."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro, micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        whole = np.asarray(state.found, np.float64) + np.asarray(state.there, np.float64)
        return self.counts.ratio(state, 2 * np.asarray(state.hits, np.float64), whole)


class IoU:
    """Intersection over union: hits / (predicted + actual - hits), usually of pixels."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro (the mean IoU), micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        hits, found, there = (np.asarray(part, np.float64) for part in state)
        return self.counts.ratio(state, hits, found + there - hits)
