"""The metrics of a run, the values of which stay as they are, and further ones, each with its interval."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dltrain.engine.evaluate import Evaluation
from dltrain.inference.scores.bootstrap import Estimate, Resampling, Statistic, estimates
from dltrain.inference.scores.collect import Collected
from dltrain.inference.scores.numbers import r2_statistic
from dltrain.inference.scores.ranking import Ranking
from dltrain.inference.scores.scores import Metrics
from dltrain.inference.scores.states import agrees, metric_statistic
from dltrain.metrics import AUROC, R2, AveragePrecision


def overall(
    found: Collected,
    own: Mapping[str, Any],
    further: Mapping[str, Any],
    ranking: Ranking | None,
    drawn: Resampling,
    *,
    of_classes: bool,
) -> tuple[Metrics, Metrics]:
    """Return the loss and the metrics of a run, and further ones, by name.

    Args:
        found: what was computed of the examples.
        own: the metrics of the run.
        further: other metrics.
        ranking: the curves of the classes or labels, if there are any.
        drawn: how examples are resampled.
        of_classes: whether an example has one class, so that the curve of the second of two says all.
    """
    known = _by_metric(found.evaluation.scalars, own)
    statistics = {"loss": _loss_statistic(found.evaluation)} | _statistics(found, {**own, **further})
    kept = {name: s for name, s in statistics.items() if name not in known or agrees(s, known[name])}
    each = estimates(kept, drawn, known)
    mine: Metrics = {}
    for name, values in known.items():
        estimated = each.get(name) or _ranked(own.get(name), ranking, drawn, values)
        for part, value in values.items():
            mine[f"{name}/{part}" if part else name] = estimated.get(part, Estimate(value))
    others = {name: each[name][""] for name in further if name in each and "" in each[name]}
    areas = _areas(ranking, drawn, of_classes=of_classes)
    return mine, others | {name: estimate for name, estimate in areas.items() if name not in own}


def _statistics(found: Collected, metrics: Mapping[str, Any]) -> dict[str, Statistic]:
    statistics = {}
    for name, metric in metrics.items():
        if name in found.columns:
            statistics[name] = metric_statistic(metric, found.columns[name])
        elif isinstance(metric, R2) and found.targets is not None:
            value = (found.decided or {}).get("value")
            if value is not None and value.size == found.targets.size:
                statistics[name] = r2_statistic(metric, found.targets, value)
    return statistics


def _areas(ranking: Ranking | None, drawn: Resampling, *, of_classes: bool) -> Metrics:
    """Return the areas under the curves, their mean over the classes."""
    if ranking is None:
        return {}
    count = len(ranking.curves)
    columns = [1] if of_classes and count == 2 else list(range(count))
    names = {"auroc": "auroc", "average_precision": "precision"}
    return {name: ranking.estimate(drawn, columns, what) for name, what in names.items()}


def _loss_statistic(found: Evaluation) -> Statistic:
    weights = np.ones(len(found.losses)) if found.weights is None else found.weights
    columns = np.stack([np.where(weights > 0, found.losses * weights, 0), weights], 1)
    return Statistic(columns, lambda sums: {"": sums[:, 0] / sums[:, 1]})


def _by_metric(scalars: Mapping[str, float], metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return what a run reports by metric: name -> part, or "" -> value; the loss is one of them."""
    found: dict[str, dict[str, float]] = {}
    for key, value in scalars.items():
        name = next((name for name in ("loss", *metrics) if key == name), key.partition("/")[0])
        found.setdefault(name, {})[key.removeprefix(name).removeprefix("/")] = value
    return found


def _ranked(metric: Any, ranking: Ranking | None, drawn: Resampling, known: Mapping[str, float]) -> Metrics:
    """Return the intervals of a metric of ranks, around the values that are known."""
    if ranking is None or not isinstance(metric, AUROC | AveragePrecision):
        return {}
    what = "auroc" if isinstance(metric, AUROC) else "precision"
    first = 1 if metric.scores.columns == 1 else 0
    columns = list(range(first, len(ranking.curves)))
    groups = {"": columns} if "" in known else {n: [k] for n, k in zip(metric.scores.names, columns, strict=True)}
    found = {name: ranking.estimate(drawn, of, what) for name, of in groups.items()}
    return {name: replace(found[name], value=value) for name, value in known.items()}
