"""The F1 loss against float64 NumPy, scikit-learn and finite differences: mask, weights, microbatches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score

from dltrain.composition.compose import compose_words
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.losses import f1

pytestmark = pytest.mark.usefixtures("unoptimised")

RNG = np.random.default_rng(0)
B, K = 12, 4
LOGITS = RNG.normal(size=(B, K)) * 2
LABELS = RNG.integers(0, K - 1, B)  # the last class is not there
LOGIT = RNG.normal(size=(B, 1)) * 2
BITS = RNG.integers(0, 2, B)
WEIGHTS = RNG.uniform(0.5, 2, B)
MASK = np.arange(B) < 9
AVERAGES = ("macro", "micro", "binary")


def by_hand(logits, labels, weights, average):
    """1 - F1 from the sums over the examples, in float64."""
    logits = np.concatenate([np.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y, w = np.eye(p.shape[1])[labels], weights[:, None]
    hits, found, there = (w * p * y).sum(0), (w * p).sum(0), (w * y).sum(0)
    if average == "micro":
        return 1 - 2 * hits.sum() / (found.sum() + there.sum())
    scores = 2 * hits / (found + there)
    return 1 - (scores[1] if average == "binary" else scores[there > 0].mean())


def minimised(logits, labels, average, *, mask=None, weights=None, **options):
    """The value that training minimises."""
    mask = np.ones(len(labels), bool) if mask is None else mask
    batch = {"targets": jnp.asarray(labels), "mask": jnp.asarray(mask)}
    batch |= {} if weights is None else {"weights": jnp.asarray(weights)}
    objective = Objective(lambda outputs, batch: f1(outputs, batch, average=average, **options))
    return objective(logits, batch, {})["loss"]


def cases():
    for average in AVERAGES:
        if average != "binary":
            yield average, LOGITS, LABELS
        yield average, LOGIT, BITS


@pytest.mark.parametrize(("average", "logits", "labels"), list(cases()))
def test_f1_equals_sums_over_valid_examples_and_gradients_equal_finite_differences(average, logits, labels):
    spoiled, wrong = logits.copy(), labels.copy()
    spoiled[~MASK], wrong[~MASK] = np.nan, -1
    with jax.enable_x64(True):
        given = jax.jit(jax.value_and_grad(lambda z: minimised(z, wrong, average, mask=MASK, weights=WEIGHTS)))
        value, gradient = given(jnp.asarray(spoiled))
    rest = (labels[MASK], WEIGHTS[MASK], average)
    assert float(value) == pytest.approx(by_hand(logits[MASK], *rest), abs=1e-12)
    np.testing.assert_array_equal(gradient[~MASK], 0)
    for i, j in np.ndindex(logits.shape):
        if MASK[i]:
            step = np.zeros_like(logits)
            step[i, j] = 1e-6
            more, less = (by_hand((logits + s)[MASK], *rest) for s in (step, -step))
            assert gradient[i, j] == pytest.approx((more - less) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("average", AVERAGES)
def test_f1_of_certain_outputs_equals_scikit_learn(average):
    labels, guesses = (BITS, RNG.integers(0, 2, B)) if average == "binary" else (LABELS, RNG.integers(0, K - 1, B))
    logits = 2e4 * np.eye(2 if average == "binary" else K, dtype=np.float32)[guesses] - 1e4
    value, gradient = jax.jit(jax.value_and_grad(lambda z: minimised(z, labels.astype(np.int32), average)))(logits)
    there = {} if average == "binary" else {"labels": np.unique(labels)}
    assert float(value) == pytest.approx(1 - f1_score(labels, guesses, average=average, **there), abs=1e-6)
    assert np.isfinite(gradient).all()


def test_targets_may_be_probabilities_and_a_label_outside_the_classes_gives_nan():
    labels = LABELS.astype(np.int32)
    for average in ("macro", "micro"):
        soft = minimised(jnp.asarray(LOGITS, jnp.float32), np.eye(K, dtype=np.float32)[labels], average)
        assert float(soft) == pytest.approx(float(minimised(jnp.asarray(LOGITS, jnp.float32), labels, average)))
        wrong = np.where(np.arange(B) == 3, K, labels).astype(np.int32)
        assert np.isnan(minimised(jnp.asarray(LOGITS, jnp.float32), wrong, average))


def test_empty_batch_has_loss_zero():
    none = np.zeros(B, bool)
    value, gradient = jax.value_and_grad(lambda z: minimised(z, LABELS.astype(np.int32), "macro", mask=none))(
        jnp.asarray(LOGITS, jnp.float32)
    )
    assert value == 0 and not gradient.any()


def test_microbatches_are_an_error_unless_their_scores_add_up():
    for average in AVERAGES:
        logits, labels = (LOGIT, BITS) if average == "binary" else (LOGITS, LABELS)
        given = (jnp.asarray(logits, jnp.float32), labels.astype(np.int32), average)
        if average == "micro":
            assert minimised(*given, microbatches=2) == minimised(*given)
            continue
        with pytest.raises(ValueError, match=r"optim\.accumulate=2 splits; set optim\.accumulate=1"):
            minimised(*given, microbatches=2)


def test_wrong_shapes_and_averages_are_an_error():
    with pytest.raises(ValueError, match=r"average=binary needs two classes, found 4; use macro"):
        minimised(jnp.asarray(LOGITS, jnp.float32), LABELS.astype(np.int32), "binary")
    with pytest.raises(ValueError, match=r"f1: expected outputs \[B, K\] or \[B, 1\]"):
        minimised(jnp.zeros((B, 3, 2)), np.zeros((B, 3, 2), np.float32), "macro")
    with pytest.raises(ConfigError, match=r"loss\.average=weighted: must be one of macro, micro, binary"):
        compose_words("loss=f1", "loss.average=weighted")


def test_zero_one_is_not_a_loss():
    for words in (["loss=zero_one"], ["data=breast_cancer", "loss=zero_one"]):
        with pytest.raises(
            ConfigError, match=r"loss=zero_one: the gradient .* is zero .*loss=cross_entropy or loss=hinge"
        ):
            compose_words(*words)
    compose_words("metrics=[auto,zero_one]")  # what it says to do instead
