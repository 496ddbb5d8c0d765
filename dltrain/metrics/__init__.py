"""Metrics: reported next to the loss, exact over a whole split, padding masked, undefined results NaN.

A metric is a function like a loss, `(outputs, batch, *, options) -> values [B]`, which is averaged (`Average`); or,
if the result is not a mean, a class with `zero() -> state`, `add(state, outputs, batch) -> state` (inside jit) and
`value(state)` (on the host, in float64). States are sums and counts, so batches may have any size. For a class with
`of_generated = True` the batch also has `generated [B, L]`, the text that the model generates.

Hand-written, since `flax.nnx.metrics` has neither masks nor exact sums, and only a few kinds.
"""

from dltrain.metrics.average import Average, Perplexity
from dltrain.metrics.calibration import CalibrationError
from dltrain.metrics.classification import (
    Confusion,
    accuracy,
    bits_per_character,
    class_distance,
    log_loss,
    top_k,
    zero_one,
)
from dltrain.metrics.forecasting import PerStep, RootMSE, coverage
from dltrain.metrics.generation import ExactMatch
from dltrain.metrics.generative import disc_fake_accuracy, disc_real_accuracy, reconstruction_error
from dltrain.metrics.hits import F1, Averaging, IoU, Precision, Recall
from dltrain.metrics.multilabel import (
    LabelAccuracy,
    LabelF1,
    LabelPrecision,
    LabelRecall,
    all_labels,
    label_accuracy,
)
from dltrain.metrics.ranking import AUROC, AveragePrecision
from dltrain.metrics.regression import R2, RMSE, TargetMAE, mae, mape, mse, poisson_deviance

__all__ = [
    "AUROC",
    "F1",
    "R2",
    "RMSE",
    "Average",
    "AveragePrecision",
    "Averaging",
    "CalibrationError",
    "Confusion",
    "ExactMatch",
    "IoU",
    "LabelAccuracy",
    "LabelF1",
    "LabelPrecision",
    "LabelRecall",
    "PerStep",
    "Perplexity",
    "Precision",
    "Recall",
    "RootMSE",
    "TargetMAE",
    "accuracy",
    "all_labels",
    "bits_per_character",
    "class_distance",
    "coverage",
    "disc_fake_accuracy",
    "disc_real_accuracy",
    "label_accuracy",
    "log_loss",
    "mae",
    "mape",
    "mse",
    "poisson_deviance",
    "reconstruction_error",
    "top_k",
    "zero_one",
]
