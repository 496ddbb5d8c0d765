"""Metrics of NaN outputs are NaN, counts survive 2^31, and values from 1e-30 to 1e30 keep their precision."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from metric_cases import BITS, CLASSES, GOALS, GUESSES, LABELS, LOGIT, LOGITS, PAIR, TWO, N, measured, spec_of
from sklearn import metrics as sk

from dltrain import metrics
from dltrain.metrics.sums import count_more, whole, zero_count
from dltrain.tasks import Classification, Forecasting, Generation, Multilabel, Regression
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.usefixtures("unoptimised")
NAMES = [name for name in metrics.__all__ if name != "Averaging"]
FOUR = spec_of(Classification(), tuple("abcd"))
TEXT = replace(
    spec_of(Classification(), tuple("abcd")),
    task=Generation(),
    targets={"text": Feature(Kind.TOKENS, (3,), "int32", vocabulary=tuple("abcd"))},
)


SEVERAL = {
    "accuracy": metrics.accuracy,
    "zero_one": metrics.zero_one,
    "class_distance": metrics.class_distance,
    "top_k": lambda z, b: metrics.top_k(z, b, k=2),
    "log_loss": metrics.log_loss,
    "bits_per_character": metrics.bits_per_character,
    "Average": metrics.Average(metrics.accuracy),
    "Perplexity": metrics.Perplexity(),
    "CalibrationError": metrics.CalibrationError(),
    "Confusion": metrics.Confusion(spec=CLASSES),
    **{
        f"{name}, {average}": getattr(metrics, name)(average, spec=CLASSES)
        for name in ("Precision", "Recall", "F1", "IoU")
        for average in ("macro", "micro", "weighted", "none")
    },
}
BINARY = {
    "accuracy, binary": metrics.accuracy,
    "log_loss, binary": metrics.log_loss,
    "CalibrationError, binary": metrics.CalibrationError(),
    "Confusion, binary": metrics.Confusion(spec=TWO),
    "AUROC, binary": metrics.AUROC(spec=TWO),
    "AveragePrecision, binary": metrics.AveragePrecision(spec=TWO),
    "F1, binary": metrics.F1("binary", spec=TWO),
}
RANKED = {
    "AUROC": metrics.AUROC(spec=FOUR),
    "AUROC, none": metrics.AUROC(spec=FOUR, average="none"),
    "AveragePrecision": metrics.AveragePrecision(spec=FOUR),
}
NUMBERS = {
    "mse": metrics.mse,
    "mae": metrics.mae,
    "mape": metrics.mape,
    "RMSE": metrics.RMSE(spec=PAIR),
    "R2": metrics.R2(spec=PAIR),
    "TargetMAE": metrics.TargetMAE(spec=PAIR),
    "reconstruction_error": metrics.reconstruction_error,
}
NAMED = Spec(
    {"numbers": Feature(Kind.NUMBERS, (2,), "float32")},
    {"target": Feature(Kind.LABELS, (2,), "int32", vocabulary=("p", "q"))},
    Multilabel(),
)
LABELLED = {
    "label_accuracy": metrics.label_accuracy,
    "all_labels": metrics.all_labels,
    "LabelAccuracy": metrics.LabelAccuracy(spec=NAMED),
    **{
        f"{name}, {average}": getattr(metrics, name)(average, spec=NAMED)
        for name in ("LabelF1", "LabelPrecision", "LabelRecall")
        for average in ("macro", "micro", "none")
    },
}
STEPS = Spec(
    {"sequence": Feature(Kind.SEQUENCE, (4, 2), "float32")},
    {"target": Feature(Kind.NUMBERS, (3, 2), "float32")},
    Forecasting(),
)
FORECASTS = {"RootMSE": metrics.RootMSE(), "PerStep": metrics.PerStep(spec=STEPS)}
RNG = np.random.default_rng(5)
ERRORS = RNG.normal(size=(N, 3, 2))
CASES = (
    (SEVERAL, LOGITS, LABELS),
    (BINARY, LOGIT, BITS),
    (RANKED, LOGITS[:, :4], LABELS),
    (NUMBERS, GUESSES, GOALS),
    ({"poisson_deviance": metrics.poisson_deviance}, np.exp(ERRORS[:, :2, 0]), np.exp(ERRORS[:, :2, 1])),
    (LABELLED, LOGITS[:, :2], (LOGITS[:, 1:3] > 0).astype(np.int32)),
    (FORECASTS, ERRORS + 0.1, ERRORS),
    ({"coverage": metrics.coverage}, np.sort(ERRORS.swapaxes(1, 2)), ERRORS[:, 0]),
)
IDS = ["several", "binary", "ranked", "numbers", "counts", "labels", "forecasts", "quantiles"]


@few("size", [64, 203], 1)
@pytest.mark.parametrize(("chosen", "outputs", "targets"), CASES, ids=IDS)
def test_a_metric_of_nan_outputs_is_nan(chosen, outputs, targets, size):
    wrong = outputs.copy()
    wrong[100, 0] = np.nan
    found, plain = (measured(chosen, z, targets, size=size) for z in (wrong, outputs))
    for name, value in found.items():
        values = list(value.values()) if isinstance(value, dict) else value
        assert np.isnan(values).all(), name
        there = list(plain[name].values()) if isinstance(plain[name], dict) else plain[name]
        assert np.isfinite(there).any(), name


def test_a_metric_of_a_nan_probability_as_target_is_nan():
    shares = np.eye(6)[LABELS]
    shares[7, 2] = np.nan
    for name, value in measured(
        {n: SEVERAL[n] for n in ("accuracy", "top_k", "Confusion")}, LOGITS, shares
    ).items():
        assert np.isnan(value).all(), name


def test_metrics_of_what_a_model_generates_are_nan_if_its_outputs_are():
    nan = jnp.full(3, jnp.nan)
    batch = {"mask": jnp.ones(3, bool)}
    assert np.isnan(metrics.disc_real_accuracy({"real": nan}, batch)).all()
    assert np.isnan(metrics.disc_fake_accuracy({"fake": nan}, batch)).all()
    assert np.isnan(metrics.reconstruction_error({"reconstruction": nan}, {**batch, "targets": jnp.ones(3)})).all()
    exact = metrics.ExactMatch(spec=TEXT)
    text = jnp.ones((3, 3), jnp.int32)
    batch |= {"targets": text, "generated": text, "loss_mask": jnp.asarray([[1, 1, 0]] * 3)}
    for place, expected in (((0, 0), np.nan), ((0, 2), 1.0)):  # the last position does not count
        outputs = jnp.zeros((3, 3, 4)).at[place].set(jnp.nan)
        np.testing.assert_equal(exact.value(exact.add(exact.zero(), outputs, batch)), expected)


def test_every_metric_is_in_a_table_above():
    tested = {name.partition(",")[0] for chosen, *_ in CASES for name in chosen}
    assert tested | {"disc_real_accuracy", "disc_fake_accuracy", "ExactMatch"} == set(NAMES)


def test_counts_survive_more_than_2_to_the_31():
    add, count = jax.jit(count_more), zero_count((2,))
    more = jnp.asarray([2**30, 1], jnp.int32)
    for _ in range(9):
        count = add(count, more)
    assert whole(count).tolist() == [9 * 2**30, 9]


@few("name", ["Confusion", "F1, macro", "CalibrationError", "R2", "RMSE"], ("Confusion", "R2"))
def test_a_metric_survives_more_than_2_to_the_31_of_one_class(name):
    """The same examples again and again, by adding a state to itself, as if they had come one after the other."""
    chosen, outputs, targets = (NUMBERS, GUESSES, GOALS) if name in NUMBERS else (SEVERAL, LOGITS, LABELS)
    metric, batch = chosen[name], {"targets": jnp.asarray(targets), "mask": jnp.ones(len(targets), bool)}
    outputs = jnp.asarray(outputs, jnp.float32)
    batch["targets"] = batch["targets"].astype(jnp.float32 if name in NUMBERS else jnp.int32)
    state = once = metric.add(metric.zero(), outputs, batch)

    def many(path, leaf):
        place = [str(getattr(key, "name", "")) for key in path]
        if place[-1:] == ["low"]:
            return jnp.uint32(0) * leaf
        if place[-1:] == ["high"]:  # the low bits, as the high ones: 2^32 times as many
            return _at(once, path[:-1]).low
        return leaf if "unit" in place or place[-1:] in (["shift"], ["mean"], ["undefined"]) else leaf * 2.0**32

    state = jax.tree_util.tree_map_with_path(many, once)
    counts = [
        leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
        if getattr(path[-1], "name", "") == "high"
    ]
    assert counts and all(int(np.max(leaf)) > 0 for leaf in counts)
    value, expected = metric.value(jax.device_get(state)), metric.value(jax.device_get(once))
    np.testing.assert_allclose(value, expected * 2.0**32 if name == "Confusion" else expected, rtol=1e-6)


def _at(tree, path):
    for key in path:
        tree = getattr(tree, key.name)
    return tree


POWERS = [-30, -20, -10, 0, 10, 20, 30]
ONE = spec_of(Regression(), targets=(2,))


@pytest.mark.parametrize("power", POWERS)
def test_regression_metrics_equal_float64_from_1e_30_to_1e30(power):
    rng = np.random.default_rng(power + 40)
    goals = (rng.normal(size=(203, 2)) * 10.0**power).astype(np.float32)
    guesses = (goals * (1 + 0.1 * rng.normal(size=goals.shape))).astype(np.float32)
    y, z = goals.astype(np.float64), guesses.astype(np.float64)
    chosen = {"rmse": metrics.RMSE(spec=ONE), "r2": metrics.R2(spec=ONE), "mae": metrics.mae}
    found = measured(chosen, guesses, goals)
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, z), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(y, z), rel=1e-6)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, z), rel=1e-6)
    squares = measured({"mse": metrics.mse}, guesses, goals)["mse"]
    limits = {-30: 0.0, 20: np.inf, 30: np.inf}  # of float32, as docs/reliability.md says
    assert squares == pytest.approx(limits.get(power, sk.mean_squared_error(y, z)), rel=1e-6)


def test_rmse_and_r2_of_batches_of_very_different_sizes_equal_float64():
    rng = np.random.default_rng(0)
    goals = (rng.normal(size=(203, 2)) * 10.0 ** rng.integers(-30, 31, (203, 1))).astype(np.float32)
    guesses = (goals * 1.1).astype(np.float32)
    found = measured({"rmse": metrics.RMSE(spec=ONE), "r2": metrics.R2(spec=ONE)}, guesses, goals, size=7)
    y, z = goals.astype(np.float64), guesses.astype(np.float64)
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, z), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(y, z), rel=1e-6)


@pytest.mark.parametrize("power", POWERS)
def test_log_loss_of_logits_from_1e_30_to_1e30_equals_float64(power):
    logits = (np.random.default_rng(1).normal(size=(203, 4)) * 10.0**power).astype(np.float32)
    z = logits.astype(np.float64)
    expected = np.logaddexp.reduce(z - z[np.arange(203), LABELS][:, None], axis=1)
    found = metrics.log_loss(jnp.asarray(logits), {"targets": jnp.asarray(LABELS)})
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-37)


@pytest.mark.parametrize("ahead", [10.0, 20.0, 50.0, 80.0])
def test_a_log_loss_near_zero_keeps_its_precision(ahead):
    found = metrics.log_loss(jnp.asarray([[ahead, 0.0, 0.0]]), {"targets": jnp.asarray([0])})
    assert float(found[0]) == pytest.approx(np.log1p(2 * np.exp(-ahead)), rel=1e-5)


def test_auroc_orders_probabilities_that_float32_rounds_to_1():
    logits = np.zeros((6, 3))
    logits[:, 0] = [40, 50, 60, 20, 25, 30]
    targets = np.array([0, 0, 0, 1, 1, 2], np.int32)
    spec = spec_of(Classification(), tuple("abc"), rows=6)
    found = measured({"auroc": metrics.AUROC(spec=spec, average="none")}, logits, targets, size=6)["auroc"]
    assert found["a"] == 1.0
