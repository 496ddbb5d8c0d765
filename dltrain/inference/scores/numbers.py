"""Numbers: errors of each target, of each column of a forecast, and of each of its steps."""

from collections.abc import Mapping, Sequence

import numpy as np

from dltrain.inference.scores.bootstrap import Estimate, Statistic, Values
from dltrain.inference.scores.scores import Part
from dltrain.metrics import R2
from dltrain.types import Spec


def number_statistic(truth: np.ndarray, predicted: np.ndarray) -> Statistic:
    """Return the errors of each of T targets as a statistic: `NAME/T` by the number of the target.

    `bias` is the mean of prediction minus truth; R² is NaN if all targets are equal.

    Args:
        truth: [N, ..., T]; the axes between are values of the same target.
        predicted: of the same shape.
    """
    count = truth.shape[-1]
    truth, predicted = (values.astype(np.float64).reshape(len(truth), -1, count) for values in (truth, predicted))
    error, centred = predicted - truth, truth - truth.mean((0, 1))
    parts = [np.square(error), np.abs(error), error, centred, np.square(centred)]
    columns = np.concatenate([*(part.sum(1) for part in parts), np.full((len(truth), 1), truth.shape[1])], 1)

    def values(sums: np.ndarray) -> Values:
        squares, absolute, bias, mean, spread = (sums[:, i * count : (i + 1) * count] for i in range(5))
        number = sums[:, -1:]
        around = spread - np.square(mean) / number
        with np.errstate(all="ignore"):
            scores = {"rmse": np.sqrt(squares / number), "mae": absolute / number, "bias": bias / number}
            scores["r2"] = np.where(around > 0, 1 - squares / around, np.nan)
        return {f"{name}/{k}": score[:, k] for name, score in scores.items() for k in range(count)}

    return Statistic(columns, values)


def r2_statistic(metric: R2, truth: np.ndarray, predicted: np.ndarray) -> Statistic:
    """Return the metric R² of a run as a statistic: its mean over the targets, or that of each by name."""
    flat = (values.reshape(len(values), -1) for values in (truth, predicted))
    each = number_statistic(*flat)

    def values(sums: np.ndarray) -> Values:
        scores = [score for name, score in each.values(sums).items() if name.startswith("r2/")]
        if metric.average == "mean":
            return {"": np.mean(scores, 0)}
        return dict(zip(metric.names, scores, strict=True))

    return Statistic(each.columns, values)


def number_parts(names: Sequence[str], count: int, found: Mapping[str, Estimate]) -> list[Part]:
    """Return the metrics of each target, given its estimates by `NAME/T`; `count` examples have each."""
    words = list(dict.fromkeys(key.rpartition("/")[0] for key in found))
    return [
        Part(name, {"examples": count}, {word: found[f"{word}/{k}"] for word in words})
        for k, name in enumerate(names)
    ]


def target_names(spec: Spec) -> tuple[str, ...]:
    """Return the names of the targets, or of the columns of a forecast; their numbers if they have none."""
    count = spec.target.shape[-1] if spec.target.shape else 1
    names = spec.target.names
    return names if len(names) == count else tuple(str(k) for k in range(count))
