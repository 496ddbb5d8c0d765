"""Accuracy, top-k, log loss and the confusion matrix against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import BITS, CLASSES, FOUND, LABELS, LOGIT, LOGITS, SCORERS, TWO, YES, measured, softmax, within
from sklearn import metrics as sk

from dltrain import metrics

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_accuracy_zero_one_and_top_k_equal_scikit_learn(several):
    assert several["accuracy"] == pytest.approx(sk.accuracy_score(LABELS, FOUND), rel=1e-12)
    assert several["zero_one"] == pytest.approx(sk.zero_one_loss(LABELS, FOUND), rel=1e-12)
    assert several["top_1"] == several["accuracy"]
    untied = LOGITS - 1e-4 * np.arange(6)  # the rule for ties, written out
    expected = sk.top_k_accuracy_score(LABELS, untied, k=2, labels=range(6))
    assert several["top_2"] == pytest.approx(expected, rel=1e-12)


def test_log_loss_bits_and_perplexity_equal_scikit_learn(probable, dtype):
    expected, rel = sk.log_loss(LABELS, softmax(LOGITS), labels=range(6)), within(dtype, 1e-6)
    assert probable["log_loss"] == pytest.approx(expected, rel=rel)
    assert probable["bits"] == pytest.approx(expected / np.log(2), rel=rel)
    assert probable["perplexity"] == pytest.approx(np.exp(expected), rel=rel)


def test_confusion_equals_scikit_learn(several):
    np.testing.assert_array_equal(several["confusion"], sk.confusion_matrix(LABELS, FOUND, labels=range(6)))
    assert several["confusion"].dtype == np.int64


def test_binary_scores_equal_scikit_learn(binary):
    assert binary["accuracy"] == pytest.approx(sk.accuracy_score(BITS, YES), rel=1e-12)
    np.testing.assert_array_equal(binary["confusion"], sk.confusion_matrix(BITS, YES))
    for name, score in SCORERS.items():
        assert binary[name] == pytest.approx(score(BITS, YES), rel=1e-12)


def test_binary_log_loss_equals_scikit_learn(probable_binary, dtype):
    p = 1 / (1 + np.exp(-LOGIT[:, 0]))
    assert probable_binary["log_loss"] == pytest.approx(sk.log_loss(BITS, p), rel=within(dtype, 1e-6))


def test_targets_may_be_probabilities_whose_largest_is_the_class():
    shares = np.float32(0.8) * np.eye(6, dtype=np.float32)[LABELS] + np.float32(0.03)
    chosen = {"accuracy": metrics.accuracy, "confusion": metrics.Confusion(spec=CLASSES)}
    mixed, plain = measured(chosen, LOGITS, shares), measured(chosen, LOGITS, LABELS)
    assert mixed["accuracy"] == plain["accuracy"]
    np.testing.assert_array_equal(mixed["confusion"], plain["confusion"])
    soft = np.float32(0.8) * BITS.astype(np.float32) + np.float32(0.1)
    assert measured(chosen | {"confusion": metrics.Confusion(spec=TWO)}, LOGIT, soft)["accuracy"] == np.mean(
        BITS == YES
    )


def test_constant_model_has_no_advantage_in_top_k():
    labels = np.arange(5, dtype=np.int32)
    found = measured({"top_2": lambda z, b: metrics.top_k(z, b, k=2)}, np.zeros((5, 5), np.float32), labels, size=5)
    assert found["top_2"] == pytest.approx(2 / 5)


def test_label_outside_the_classes_is_never_right():
    labels = jnp.asarray([-1, 5, 99])
    batch = {"targets": labels, "mask": jnp.ones(3, bool)}
    z = jnp.zeros((3, 5)).at[:, 4].set(1.0)
    right, among, loss = jax.jit(
        lambda z: [f(z, batch) for f in (metrics.accuracy, metrics.top_k, metrics.log_loss)]
    )(z)
    assert not right.any() and not among.any() and np.isnan(loss).all()
