"""Metrics of the shared predictions, each set added up by one program."""

import jax
import pytest
from metric_cases import (
    AVERAGES,
    BITS,
    CLASSES,
    GOALS,
    GUESSES,
    LABELS,
    LOGIT,
    LOGITS,
    PAIR,
    SCORERS,
    TWO,
    measured,
)

from dltrain import metrics


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(scope="module")
def several():
    """Counts, which are the same in every type."""
    chosen = {
        "accuracy": metrics.accuracy,
        "zero_one": metrics.zero_one,
        "top_1": lambda z, b: metrics.top_k(z, b, k=1),
        "top_2": lambda z, b: metrics.top_k(z, b, k=2),
        "confusion": metrics.Confusion(spec=CLASSES),
    }
    for name in SCORERS:
        chosen |= {f"{name} {a}": getattr(metrics, name)(a, spec=CLASSES) for a in AVERAGES}
    return measured(chosen, LOGITS, LABELS)


@pytest.fixture(scope="module")
def probable(dtype):
    chosen = {
        "log_loss": metrics.log_loss,
        "bits": metrics.bits_per_character,
        "perplexity": metrics.Perplexity(),
        "ece": metrics.CalibrationError(bins=10),
    }
    return measured(chosen, LOGITS, LABELS, dtype=dtype)


@pytest.fixture(scope="module")
def binary():
    chosen = {"accuracy": metrics.accuracy, "confusion": metrics.Confusion(spec=TWO)}
    chosen |= {name: getattr(metrics, name)("binary", spec=TWO) for name in SCORERS}
    return measured(chosen, LOGIT, BITS, size=50)


@pytest.fixture(scope="module")
def probable_binary(dtype):
    chosen = {
        "log_loss": metrics.log_loss,
        "auroc": metrics.AUROC(spec=TWO),
        "average_precision": metrics.AveragePrecision(spec=TWO),
        "ece": metrics.CalibrationError(bins=5),
    }
    return measured(chosen, LOGIT, BITS, size=50, dtype=dtype)


@pytest.fixture(scope="module")
def numbers(dtype):
    chosen = {"mse": metrics.mse, "mae": metrics.mae, "mape": metrics.mape}
    chosen |= {"rmse": metrics.RMSE(spec=PAIR), "r2": metrics.R2(spec=PAIR)}
    return measured(chosen, GUESSES, GOALS, dtype=dtype)
