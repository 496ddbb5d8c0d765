"""Precision, recall, F1 and IoU: ratios of counts per class, averaged over the classes."""

from enum import StrEnum
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import actual, count_classes, is_undefined, predicted
from dltrain.metrics.sums import Count, count_more, kept, whole, zero_count
from dltrain.types import Array, Batch, Spec


class Averaging(StrEnum):
    """How the scores of the classes are averaged."""

    MACRO = "macro"  # their mean
    MICRO = "micro"  # from the counts of all classes together
    WEIGHTED = "weighted"  # their mean, weighted by how often each class occurs
    BINARY = "binary"  # class 1 only
    NONE = "none"  # no average: a score per class, by name


class HitState(NamedTuple):
    """Examples per class, [K] each: true positives, predicted, and actual; and whether an output was NaN."""

    hits: Count
    found: Count
    there: Count
    undefined: Array


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
        zero = zero_count((self.classes,))
        return HitState(zero, zero, zero, jnp.zeros((), bool))

    def add(self, state: HitState, outputs: Array, batch: Batch) -> HitState:
        """Add a batch."""
        true, found = actual(outputs, batch), predicted(outputs)
        keep = kept(true, batch)
        undefined = state.undefined | (keep & is_undefined(outputs, batch)).any()
        keep = keep & (true >= 0)

        def counted(counts: Count, labels: Array, where: Array) -> Count:
            index = jnp.where(where, labels, self.classes)
            return count_more(counts, jnp.zeros(self.classes, jnp.int32).at[index].add(1, mode="drop"))

        return HitState(
            counted(state.hits, true, keep & (true == found)),
            counted(state.found, found, keep),
            counted(state.there, true, keep),
            undefined,
        )

    def ratio(self, state: HitState, part: np.ndarray, of: np.ndarray) -> float | dict[str, float]:
        """Average `part / of` over the classes.

        As in scikit-learn, a class that is neither actual nor predicted is left out of an average, and one with an
        undefined ratio counts as 0 in it; without an average (`none`, `binary`, or no class left) it is NaN, and
        so is everything if an output was NaN.
        """
        if state.undefined:
            nan = float("nan")
            return dict.fromkeys(self.names, nan) if self.average is Averaging.NONE else nan
        there, found = whole(state.there).astype(np.float64), whole(state.found).astype(np.float64)
        scores = np.divide(part, of, out=np.full(part.shape, np.nan), where=of > 0)
        seen = (there + found) > 0
        match self.average:
            case Averaging.NONE:
                return {name: float(score) for name, score in zip(self.names, scores, strict=True)}
            case Averaging.BINARY:
                return float(scores[1])
            case Averaging.MICRO:
                return float(part.sum() / of.sum()) if of.sum() > 0 else float("nan")
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
        return self.counts.ratio(state, whole(state.hits), whole(state.found))


class Recall:
    """The share of the examples of a class that are found."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro, micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        return self.counts.ratio(state, whole(state.hits), whole(state.there))


class F1:
    """The harmonic mean of precision and recall: 2·hits / (predicted + actual)."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro, micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        return self.counts.ratio(state, 2 * whole(state.hits), whole(state.found) + whole(state.there))


class IoU:
    """Intersection over union: hits / (predicted + actual - hits), usually of pixels."""

    def __init__(self, average: Averaging = Averaging.MACRO, *, spec: Spec):
        """Set the average: macro (the mean IoU), micro, weighted, binary or none."""
        self.counts = ClassHits(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: HitState) -> float | dict[str, float]:
        """Return the score, or one per class."""
        hits, found, there = whole(state.hits), whole(state.found), whole(state.there)
        return self.counts.ratio(state, hits, found + there - hits)
