"""Exact ranking metrics: all scores of a split stay on the device and are sorted at the end."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import actual, count_classes, is_undefined
from dltrain.metrics.hits import Averaging
from dltrain.metrics.sums import kept, widened
from dltrain.ranges import Size
from dltrain.types import Array, Batch, Spec


class ScoreState(NamedTuple):
    """Scores [rows, columns] and classes [rows] in order of arrival, and their number."""

    scores: Array
    labels: Array
    count: Array


class Scores:
    """A buffer of all scores: one column for a binary task, otherwise one per class."""

    def __init__(self, spec: Spec, max_examples: int | None, average: Averaging):
        """Allocate for the largest split, or for `max_examples` examples."""
        self.average = Averaging(average)
        if self.average not in (Averaging.MACRO, Averaging.NONE):
            raise ValueError(f"average={average}: must be macro or none")
        classes, binary = count_classes(spec), spec.outputs == 1
        self.columns = 1 if binary else classes
        self.classes = spec.classes or tuple(map(str, range(classes)))
        self.names = self.classes[binary:]
        if max_examples is None and not spec.counts:
            raise ValueError("the data does not give the sizes of its splits; set max_examples=N")
        self.max_examples = (
            max(sum(counts) for counts in spec.counts.values()) if max_examples is None else max_examples
        )

    def zero(self) -> ScoreState:
        """Return the state without examples."""
        return ScoreState(
            jnp.zeros((self.max_examples, self.columns)),
            jnp.zeros(self.max_examples, jnp.int32),
            jnp.zeros((), jnp.int32),
        )

    def add(self, state: ScoreState, outputs: Array, batch: Batch) -> ScoreState:
        """Append the examples of a batch that are not masked."""
        labels = actual(outputs, batch)
        keep = kept(labels, batch) & (labels >= 0)
        # Log odds: the same order as probabilities, without saturation; a single logit is one.
        scores = widened(outputs)
        scores = scores if self.columns == 1 else log_odds(scores)
        undefined = is_undefined(outputs, batch)
        keep = keep | (undefined & kept(labels, batch))
        scores = jnp.where(undefined[..., None], jnp.nan, scores)
        place = jnp.where(keep, state.count + jnp.cumsum(keep, dtype=jnp.int32) - 1, self.max_examples)
        return ScoreState(
            state.scores.at[place].set(scores.astype(state.scores.dtype), mode="drop"),
            state.labels.at[place].set(labels, mode="drop"),
            state.count + keep.sum(dtype=jnp.int32),
        )

    def absent(self, targets: np.ndarray) -> str:
        """Return the classes that do not occur among targets int [N], in words; "" if all do, or for no average."""
        if self.average is Averaging.NONE or not np.issubdtype(targets.dtype, np.integer):
            return ""
        missing = [name for i, name in enumerate(self.classes) if not (targets == i).any()]
        return f"it has no example of {', '.join(missing[:5])}" if missing else ""

    def averaged(self, state: ScoreState, area: Callable[..., float]) -> float | dict[str, float]:
        """Return the mean area over the columns, or one per class; NaN if one is undefined or an output is NaN."""
        if np.isnan(np.asarray(state.scores)).any():
            areas = [float("nan")] * self.columns
        else:
            areas = [area(hits, misses) for hits, misses in self.curves(state)]
        return (
            dict(zip(self.names, areas, strict=True)) if self.average is Averaging.NONE else float(np.mean(areas))
        )

    def curves(self, state: ScoreState) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return true and false positives per column at all distinct thresholds, from the highest score down."""
        count = int(np.asarray(state.count))
        if count > self.max_examples:
            raise ValueError(
                f"max_examples={self.max_examples}: there are {count} examples; set max_examples={count}"
            )
        scores, labels = np.asarray(state.scores)[:count], np.asarray(state.labels)[:count]
        ones = [1] if self.columns == 1 else range(self.columns)
        return [counts_above(column, labels == one) for column, one in zip(scores.T, ones, strict=True)]


def log_odds(logits: Array) -> Array:
    """Return log(p / (1 - p)) of each class, p the softmax of the logits, [..., K] -> [..., K]."""
    log_p = jax.nn.log_softmax(logits)
    largest = jnp.argmax(logits, axis=-1, keepdims=True)
    is_largest = (
        jnp.arange(logits.shape[-1], dtype=largest.dtype).reshape((1,) * (logits.ndim - 1) + (-1,)) == largest
    )
    top = logits.max(-1, keepdims=True)
    others = jax.nn.logsumexp(jnp.where(is_largest, -jnp.inf, logits - top), axis=-1, keepdims=True)
    return jnp.where(is_largest, -others, log_p - jnp.log1p(-jnp.exp(log_p)))


def counts_above(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return true and false positives at all distinct thresholds, from the highest score down, int64 [n] each."""
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    last_of_equals = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    hits = np.cumsum(positive, dtype=np.int64)[last_of_equals]
    return hits, np.arange(1, len(scores) + 1)[last_of_equals] - hits


class AUROC:
    """The probability that a positive example has a higher score than a negative one (ties count half).

    For K classes the mean over the classes, one versus rest (`multi_class="ovr"` in scikit-learn). NaN if a class
    has no examples. Keeps examples x classes values on the device.
    """

    def __init__(self, max_examples: Size | None = None, *, spec: Spec, average: Averaging = Averaging.MACRO):
        """Allocate for `max_examples` examples; None: for the largest split. `average`: macro or none."""
        self.scores = Scores(spec, max_examples, average)
        self.zero, self.add, self.why_undefined = self.scores.zero, self.scores.add, self.scores.absent

    def value(self, state: ScoreState) -> float | dict[str, float]:
        """Return the area, 0 to 1, or one per class."""
        return self.scores.averaged(state, area_under_roc)


def area_under_roc(hits: np.ndarray, misses: np.ndarray) -> float:
    """Return the area under the ROC curve, by trapezoids; NaN without positive or negative examples."""
    if not len(hits) or not hits[-1] or not misses[-1]:
        return float("nan")
    return float(np.trapezoid(np.append(0, hits / hits[-1]), np.append(0, misses / misses[-1])))


class AveragePrecision:
    """`Σ (R_n - R_(n-1)) P_n` over the distinct thresholds.

    For K classes the mean over the classes, one versus rest. NaN if a class has no examples. Keeps examples x
    classes values on the device.
    """

    def __init__(self, max_examples: Size | None = None, *, spec: Spec, average: Averaging = Averaging.MACRO):
        """Allocate for `max_examples` examples; None: for the largest split. `average`: macro or none."""
        self.scores = Scores(spec, max_examples, average)
        self.zero, self.add, self.why_undefined = self.scores.zero, self.scores.add, self.scores.absent

    def value(self, state: ScoreState) -> float | dict[str, float]:
        """Return the area under the steps of the precision-recall curve, 0 to 1, or one per class."""
        return self.scores.averaged(state, area_of_steps)


def area_of_steps(hits: np.ndarray, misses: np.ndarray) -> float:
    """Return the average precision: the area under the steps of the precision-recall curve."""
    if not len(hits) or not hits[-1]:
        return float("nan")
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / (hits + misses))))
