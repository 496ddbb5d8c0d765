"""Metrics of several labels per example: outputs are logits [B, T], targets int [B, T], 0 or 1.

A label is predicted where its logit is above 0.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.sums import Count, count_more, kept, whole, zero_count
from dltrain.types import Array, Batch, Spec

Average = Literal["macro", "micro", "none"]


def compared(outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Return predicted and true labels, bool [B, T]."""
    targets = jnp.asarray(batch["targets"])
    if outputs.shape != targets.shape or outputs.ndim != 2:
        raise ValueError(
            "a metric of labels needs outputs and targets of one shape [B, T]; found outputs "
            f"{list(outputs.shape)} and targets {list(targets.shape)}"
        )
    return outputs > 0, targets.astype(jnp.float32) > 0.5


def label_accuracy(outputs: Array, batch: Batch) -> Array:
    """Return the share of the labels that are right -> [B]; NaN where an output is NaN (1 - Hamming loss)."""
    found, true = compared(outputs, batch)
    return jnp.where(jnp.isnan(outputs).any(-1), jnp.nan, (found == true).astype(jnp.float32).mean(-1))


def all_labels(outputs: Array, batch: Batch) -> Array:
    """Return 1 where all labels are right, else 0 -> [B]; NaN where an output is NaN (subset accuracy)."""
    found, true = compared(outputs, batch)
    return jnp.where(jnp.isnan(outputs).any(-1), jnp.nan, (found == true).all(-1).astype(jnp.float32))


class LabelState(NamedTuple):
    """Examples per label, [T] each: true positives, predicted, actual, right; and the number of examples."""

    hits: Count
    found: Count
    there: Count
    right: Count
    examples: Count
    undefined: Array


class LabelCounts:
    """Counts per label, and the average of the ratio of two counts, shared by the metrics below."""

    def __init__(self, average: Average, spec: Spec) -> None:
        """Take the names of the labels from the data; ValueError if it has none."""
        if not spec.labels:
            raise ValueError(f"a metric of labels cannot evaluate task={spec.task}; it needs task=multilabel")
        self.average, self.names = average, spec.labels

    def zero(self) -> LabelState:
        """Return the state without examples."""
        zero = zero_count((len(self.names),))
        return LabelState(zero, zero, zero, zero, zero_count(), jnp.zeros((), bool))

    def add(self, state: LabelState, outputs: Array, batch: Batch) -> LabelState:
        """Add a batch."""
        found, true = compared(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]

        def more(count: Count, which: Array) -> Count:
            return count_more(count, (which & keep).sum(0, dtype=jnp.int32))

        return LabelState(
            more(state.hits, found & true),
            more(state.found, found),
            more(state.there, true),
            more(state.right, found == true),
            count_more(state.examples, keep.sum(dtype=jnp.int32)),
            state.undefined | (jnp.isnan(outputs) & keep).any(),
        )

    def ratio(self, state: LabelState, part: np.ndarray, of: np.ndarray) -> float | dict[str, float]:
        """Average `part / of` over the labels; 0 / 0 is 0 in an average, as in scikit-learn, and NaN of one label.

        Everything is NaN without examples, and if an output was NaN.
        """
        lost = bool(state.undefined) or bool(whole(state.examples) == 0)
        defined = (of > 0) & (not lost)
        each = np.where(defined, part / np.where(defined, of, 1), np.nan)
        match self.average:
            case "none":
                return {name: float(score) for name, score in zip(self.names, each, strict=True)}
            case _ if lost:
                return float("nan")
            case "micro":
                return float(part.sum() / of.sum()) if of.sum() > 0 else 0.0
            case _:
                return float(np.nan_to_num(each).mean())


class LabelF1:
    """The harmonic mean of precision and recall of each label: 2·hits / (predicted + actual)."""

    def __init__(self, average: Average = "macro", *, spec: Spec) -> None:
        """Set the average: macro, micro or none."""
        self.counts = LabelCounts(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: LabelState) -> float | dict[str, float]:
        """Return the score, or one per label."""
        return self.counts.ratio(state, 2 * whole(state.hits), whole(state.found) + whole(state.there))


class LabelPrecision:
    """The share of the predictions of a label that are right."""

    def __init__(self, average: Average = "macro", *, spec: Spec) -> None:
        """Set the average: macro, micro or none."""
        self.counts = LabelCounts(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: LabelState) -> float | dict[str, float]:
        """Return the score, or one per label."""
        return self.counts.ratio(state, whole(state.hits), whole(state.found))


class LabelRecall:
    """The share of the examples with a label for which it is predicted."""

    def __init__(self, average: Average = "macro", *, spec: Spec) -> None:
        """Set the average: macro, micro or none."""
        self.counts = LabelCounts(average, spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: LabelState) -> float | dict[str, float]:
        """Return the score, or one per label."""
        return self.counts.ratio(state, whole(state.hits), whole(state.there))


class LabelAccuracy:
    """The share of the examples for which a label is right, one score per label."""

    def __init__(self, *, spec: Spec) -> None:
        """Take the names of the labels from the data."""
        self.counts = LabelCounts("none", spec)
        self.zero, self.add = self.counts.zero, self.counts.add

    def value(self, state: LabelState) -> float | dict[str, float]:
        """Return a score per label."""
        right = whole(state.right)
        return self.counts.ratio(state, right, np.full(right.shape, int(whole(state.examples))))
