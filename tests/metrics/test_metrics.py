"""The contract of all metrics: empty splits, states, undefined results, invalid arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import BITS, CLASSES, GOALS, GUESSES, LABELS, LOGIT, LOGITS, PAIR, TWO, N, batches, measured

from dltrain import metrics

pytestmark = pytest.mark.usefixtures("unoptimised")


def make_all():
    chosen = {
        "Average": (metrics.Average(metrics.accuracy), LOGITS, LABELS),
        "Perplexity": (metrics.Perplexity(), LOGITS, LABELS),
        "CalibrationError": (metrics.CalibrationError(), LOGITS, LABELS),
        "RMSE": (metrics.RMSE(spec=PAIR), GUESSES, GOALS),
        "R2": (metrics.R2(spec=PAIR), GUESSES, GOALS),
    }
    for name in ("Precision", "Recall", "F1", "AUROC", "AveragePrecision"):
        chosen[name] = (getattr(metrics, name)(spec=TWO), LOGIT, BITS)
    return chosen


@pytest.mark.parametrize("name", make_all())
def test_no_examples_give_nan(name):
    metric, *_ = make_all()[name]
    assert np.isnan(metric.value(jax.device_get(metric.zero())))


@pytest.mark.parametrize("name", make_all())
@pytest.mark.parametrize("of", ["bfloat16", "float64"])
def test_state_keeps_shapes_and_dtypes_in_a_loop(name, of):
    metric, outputs, targets = make_all()[name]
    with jax.enable_x64(of == "float64"):
        z, batch = next(batches(outputs.astype(of), targets, 64))
        before, after = jax.eval_shape(lambda: metric.zero()), jax.eval_shape(metric.add, metric.zero(), z, batch)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    assert all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)


def test_undefined_metrics_of_a_single_class_are_nan():
    ones = np.ones(N, np.int32)
    chosen = {"auroc": metrics.AUROC(spec=TWO), "precision": metrics.Precision("binary", spec=TWO)}
    found = measured(chosen, -np.ones((N, 1), np.float32), ones)
    assert np.isnan(found["auroc"]) and np.isnan(found["precision"])
    constant = np.full((N, 2), 7, np.float32)
    assert np.isnan(measured({"r2": metrics.R2(spec=PAIR)}, GUESSES, constant)["r2"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.F1(spec=PAIR), "cannot evaluate task=regression"),
        (lambda: metrics.R2(spec=TWO), "cannot evaluate task=binary"),
        (lambda: metrics.F1("binary", spec=CLASSES), "average=binary needs two classes, the data has 6"),
        (lambda: metrics.F1("median", spec=CLASSES), "'median' is not a valid Averaging"),
        (
            lambda: metrics.top_k(jnp.zeros((2, 3)), {"targets": jnp.zeros(2, jnp.int32)}, k=4),
            r"k=4 must lie in 1\.\.3",
        ),
        (
            lambda: metrics.accuracy(jnp.zeros((2, 3)), {"targets": jnp.zeros((2, 1), jnp.int32)}),
            r"found outputs \[2, 3\]",
        ),
        (lambda: metrics.mse(jnp.zeros((2, 3)), {"targets": jnp.zeros(2)}), r"outputs \[2, 3\] and targets \[2\]"),
    ],
)
def test_invalid_arguments_are_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
