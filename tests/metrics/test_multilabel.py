"""Metrics of several labels against scikit-learn, in batches with padding."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, precision_score, recall_score

from dltrain import metrics
from dltrain.metrics import Average
from dltrain.tasks import Classification, Multilabel
from dltrain.types import Feature, Kind, Spec

RNG = np.random.default_rng(0)
NAMES = ("red", "round", "never")
SPEC = Spec(
    {"numbers": Feature(Kind.NUMBERS, (2,), "float32")},
    {"y": Feature(Kind.LABELS, (3,), "int32", vocabulary=NAMES)},
    Multilabel(),
)
TRUE = RNG.integers(0, 2, (20, 3)) * [1, 1, 0]
LOGITS = (RNG.normal(size=(20, 3)) - [0, 0, 9]).astype(np.float32)
FOUND = LOGITS > 0
OPTIONS = {"zero_division": 0}


def measured(metric, logits=LOGITS):
    state = metric.zero()
    for start in range(0, 20, 8):
        part = np.arange(start, start + 8)
        valid, part = part < 20, np.minimum(part, 19)
        batch = {"targets": jnp.asarray(TRUE[part]), "mask": jnp.asarray(valid)}
        state = metric.add(state, jnp.where(valid[:, None], logits[part], 99.0), batch)
    return metric.value(state)


@pytest.mark.parametrize(
    ("metric", "reference"),
    [(metrics.LabelF1, f1_score), (metrics.LabelPrecision, precision_score), (metrics.LabelRecall, recall_score)],
)
def test_scores_equal_scikit_learn(metric, reference):
    for average in ("macro", "micro"):
        found = measured(metric(average, spec=SPEC))
        np.testing.assert_allclose(found, reference(TRUE, FOUND, average=average, **OPTIONS), rtol=1e-12)
    each, expected = measured(metric("none", spec=SPEC)), reference(TRUE, FOUND, average=None, **OPTIONS)
    assert list(each) == list(NAMES) and np.isnan(each["never"])
    np.testing.assert_allclose([each["red"], each["round"]], expected[:2], rtol=1e-12)


def test_accuracies_equal_scikit_learn():
    np.testing.assert_allclose(measured(Average(metrics.label_accuracy)), 1 - hamming_loss(TRUE, FOUND), rtol=1e-6)
    np.testing.assert_allclose(measured(Average(metrics.all_labels)), accuracy_score(TRUE, FOUND), rtol=1e-6)
    each = measured(metrics.LabelAccuracy(spec=SPEC))
    expected = [accuracy_score(TRUE[:, i], FOUND[:, i]) for i in range(3)]
    np.testing.assert_allclose(list(each.values()), expected, rtol=1e-12)


def test_an_output_that_is_nan_makes_every_score_nan():
    logits = LOGITS.copy()
    logits[3, 0] = np.nan
    assert np.isnan(measured(metrics.LabelF1("macro", spec=SPEC), logits))
    assert np.isnan(measured(Average(metrics.all_labels), logits))
    assert all(np.isnan(score) for score in measured(metrics.LabelAccuracy(spec=SPEC), logits).values())


def test_classes_have_no_labels():
    spec = Spec({}, {"y": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))}, Classification())
    with pytest.raises(ValueError, match="cannot evaluate task=classification; it needs task=multilabel"):
        metrics.LabelF1(spec=spec)
