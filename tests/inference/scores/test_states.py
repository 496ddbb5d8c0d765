"""Every metric is resampled as itself: the sum of the states of the examples is the state of all."""

import jax
import numpy as np
import pytest
from few import few

from dltrain import metrics
from dltrain.data.preprocess import Preprocess
from dltrain.data.preprocess.step import Chain
from dltrain.inference.scores.states import agrees, as_columns, metric_statistic, resampled_metrics, state_function
from dltrain.tasks import Binary, Classification, Multilabel, Regression
from dltrain.types import Feature, Kind, Spec

INPUTS = {"x": Feature(Kind.NUMBERS, (2,), "float32")}
PLAIN = Preprocess({"x": Chain(())}, {})


def spec_of(kind: str) -> Spec:
    target = {
        "classes": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c")),
        "binary": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b")),
        "labels": Feature(Kind.LABELS, (3,), "int32", vocabulary=("p", "q", "r")),
        "numbers": Feature(Kind.NUMBERS, (2,), "float32", names=("s", "t")),
    }[kind]
    tasks = {"classes": Classification, "binary": Binary, "labels": Multilabel, "numbers": Regression}
    return Spec(INPUTS, {"y": target}, tasks[kind](), counts={"train": (30, 30, 30)})


def made(kind: str) -> dict:
    spec, mean, none = spec_of(kind), metrics.Average, metrics.Averaging.NONE
    if kind == "labels":
        return {
            "f1": metrics.LabelF1(spec=spec),
            "micro": metrics.LabelF1("micro", spec=spec),
            "precision": metrics.LabelPrecision("none", spec=spec),
            "accuracy": metrics.LabelAccuracy(spec=spec),
            "exact": mean(metrics.all_labels),
        }
    if kind == "numbers":
        each = {"rmse": metrics.RMSE("none", spec=spec), "mean_rmse": metrics.RMSE(spec=spec)}
        return {**each, "mae": metrics.TargetMAE(spec=spec), "mse": mean(metrics.mse), "root": metrics.RootMSE()}
    counted = {"f1": metrics.F1(spec=spec), "precision": metrics.Precision(none, spec=spec)}
    counted |= {"recall": metrics.Recall(metrics.Averaging.WEIGHTED, spec=spec), "iou": metrics.IoU(spec=spec)}
    means = {"accuracy": mean(metrics.accuracy), "log_loss": mean(metrics.log_loss)}
    return {**counted, **means, "ece": metrics.CalibrationError(), "perplexity": metrics.Perplexity()}


def given(kind: str) -> tuple[np.ndarray, dict]:
    rng, count = np.random.default_rng(1), 24
    width = {"classes": 3, "binary": 1, "labels": 3, "numbers": 2}[kind]
    targets = {
        "classes": rng.integers(0, 3, count),
        "binary": rng.integers(0, 2, count),
        "labels": rng.integers(0, 2, (count, 3)),
        "numbers": rng.normal(size=(count, 2)).astype(np.float32),
    }[kind]
    targets = targets if kind == "numbers" else targets.astype(np.int32)
    batch = {"inputs": np.zeros((count, 2), np.float32), "targets": targets, "mask": np.ones(count, bool)}
    outputs = rng.normal(size=(count, width)) + (2 * targets - 1 if kind == "labels" else 0)
    return outputs.astype(np.float32), batch


@few("kind", ["classes", "numbers", "binary", "labels"], 1)
def test_metrics_of_resamples_are_those_of_repeated_examples(kind):
    every, (outputs, batch) = made(kind), given(kind)
    assert resampled_metrics(every, 24).keys() == every.keys()
    states = state_function(every, PLAIN)(outputs, batch)
    picked = np.random.default_rng(2).integers(0, 24, 24)
    for name, metric in every.items():
        statistic = metric_statistic(metric, as_columns(states[name], 24))
        for rows in (np.arange(24), picked):
            repeated = jax.tree.map(lambda array, rows=rows: array[rows], batch)
            value = metric.value(metric.add(metric.zero(), outputs[rows], repeated))
            known = value if isinstance(value, dict) else {"": value}
            found = statistic.values(np.bincount(rows, minlength=24)[None] @ statistic.columns)
            assert {key: v[0] for key, v in found.items()} == pytest.approx(known, rel=1e-5, nan_ok=True), name
            if rows is not picked:
                assert agrees(statistic, known), name
                assert not agrees(statistic, {key: v + 0.01 for key, v in known.items()}), name


def test_metrics_that_are_no_sums_are_left_out():
    spec = spec_of("classes")
    every = {"auroc": metrics.AUROC(spec=spec), "confusion": metrics.Confusion(spec=spec)}
    assert list(resampled_metrics(every, 10)) == ["confusion"]
    assert not resampled_metrics(every, 10**8)  # whose states would not fit
    assert not resampled_metrics({"r2": metrics.R2(spec=spec_of("numbers"))}, 10)
