"""Classes and labels: metrics of each, the curves of each against the others, and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain import metrics
from dltrain.inference.scores.bootstrap import Estimate, Resampling, Statistic, Values
from dltrain.inference.scores.calibration import Calibration, calibrate
from dltrain.inference.scores.examples import confidence_of
from dltrain.inference.scores.ranking import Ranking, rank
from dltrain.inference.scores.scores import Part
from dltrain.tasks import Level
from dltrain.types import Kind, Spec

LARGEST = 2 * 10**7  # scores of a split; the areas under the curves of more are left out


def counting_metric(spec: Spec) -> Any:
    """Return a metric whose state has, for each class or label, its hits and how often it is predicted and true."""
    return metrics.LabelF1("none", spec=spec) if spec.labels else metrics.F1(metrics.Averaging.NONE, spec=spec)


def class_statistic(columns: np.ndarray, count: int, *, pixels: bool) -> Statistic:
    """Return precision, recall and F1 of each class as a statistic: `NAME/K` by the number of the class.

    Args:
        columns: hits, predicted and true of each class, then others, float64 [N, 3K + ...].
        count: K.
        pixels: whether to add the intersection over union.
    """

    def values(sums: np.ndarray) -> Values:
        hits, found, there = (sums[:, i * count : (i + 1) * count] for i in range(3))
        with np.errstate(all="ignore"):
            scores = {"precision": hits / found, "recall": hits / there, "f1": 2 * hits / (found + there)}
            scores |= {"iou": hits / (found + there - hits)} if pixels else {}
        return {f"{name}/{k}": score[:, k] for name, score in scores.items() for k in range(count)}

    return Statistic(columns[:, : 3 * count], values)


def class_parts(
    names: Sequence[str],
    columns: np.ndarray,
    found: Mapping[str, Estimate],
    ranking: Ranking | None,
    drawn: Resampling,
    *,
    unit: str,
) -> list[Part]:
    """Return the metrics of each class, given its estimates by `NAME/K` and the curves; `unit`: what is counted."""
    count = len(names)
    sums = columns.sum(0)
    words = list(dict.fromkeys(key.rpartition("/")[0] for key in found))
    parts = []
    for k, name in enumerate(names):
        scores = {word: found[f"{word}/{k}"] for word in words}
        if ranking is not None:
            scores["auroc"] = ranking.estimate(drawn, [k], "auroc")
            scores["average_precision"] = ranking.estimate(drawn, [k], "precision")
        parts.append(Part(name, {unit: int(sums[2 * count + k]), "predicted": int(sums[count + k])}, scores))
    return parts


def rank_classes(outputs: np.ndarray, targets: np.ndarray, spec: Spec, drawn: Resampling) -> Ranking | None:
    """Rank examples by the log odds of each class or label, [N, K]; None if that takes too long."""
    if outputs.ndim != 2:
        return None
    if spec.labels:
        scores, positive = outputs.astype(np.float64), targets > 0.5
    elif outputs.shape[-1] == 1:
        scores = np.concatenate([-outputs, outputs], 1).astype(np.float64)
        positive = targets[:, None] == np.arange(2)
    else:
        scores = log_odds(outputs.astype(np.float64))
        positive = targets[:, None] == np.arange(outputs.shape[-1])
    if scores.size > LARGEST or scores.shape != positive.shape or np.isnan(scores).any():
        return None
    return rank(scores, positive, drawn)


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) of each class, p the softmax of the logits [N, K], as `dltrain.metrics.ranking` does.

    Those of the most likely class come from the sum of the others, since 1 - p is 0 in floating point for p near 1.
    """
    shifted = logits - logits.max(1, keepdims=True)
    powers = np.exp(shifted)
    largest = np.arange(logits.shape[1])[None] == logits.argmax(1)[:, None]
    others = np.where(largest, 0, powers).sum(1, keepdims=True)
    log_p = shifted - np.log(powers.sum(1, keepdims=True))
    with np.errstate(all="ignore"):
        return np.where(largest, -np.log(others), log_p - np.log1p(-np.exp(log_p)))


def calibrate_classes(decided: Mapping[str, np.ndarray], targets: np.ndarray, spec: Spec) -> Calibration | None:
    """Return how often predictions of each confidence are right; of labels, how often each probability is."""
    if spec.labels:
        if "probabilities" not in decided:
            return None
        return calibrate(
            decided["probabilities"].ravel(), targets.ravel() > 0.5, what="the probability of each label"
        )
    confidence = confidence_of(decided, spec.task.decision)
    if confidence is None:
        return None
    right = decided[spec.task.decision] == targets
    return calibrate(confidence, right, what="the probability of the predicted class")


def further_metrics(spec: Spec) -> dict[str, Any]:
    """Return metrics that suit the task, besides those of the run."""
    mean, kind = metrics.Average, spec.task.target_kind
    if kind is Kind.LABELS:
        return {"f1": metrics.LabelF1(spec=spec), "f1_micro": metrics.LabelF1("micro", spec=spec)} | {
            "precision": metrics.LabelPrecision(spec=spec),
            "recall": metrics.LabelRecall(spec=spec),
            "label_accuracy": mean(metrics.label_accuracy),
            "exact": mean(metrics.all_labels),
        }
    if kind is Kind.NUMBERS:
        found = {"mae": mean(metrics.mae), "mse": mean(metrics.mse)}
        if spec.task.standardizes_targets and len(spec.target.shape) == 2:
            return found | {"rmse": metrics.RootMSE()}
        return found | {"rmse": metrics.RMSE(spec=spec), "r2": metrics.R2(spec=spec)}
    if kind is not Kind.CATEGORY:
        return {}
    found: dict[str, Any] = {"accuracy": mean(metrics.accuracy), "balanced_accuracy": metrics.Recall(spec=spec)}
    found |= {"f1": metrics.F1(spec=spec), "log_loss": mean(metrics.log_loss), "ece": metrics.CalibrationError()}
    return found | ({"iou": metrics.IoU(spec=spec)} if spec.task.level is Level.PIXEL else {})
