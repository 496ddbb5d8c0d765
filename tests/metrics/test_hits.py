"""Precision, recall, F1 and intersection over union against scikit-learn."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import FOUND, LABELS, NAMES, SCORERS
from sklearn.metrics import jaccard_score

from dltrain.metrics import IoU
from dltrain.tasks import Segmentation
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_averages_over_classes_equal_scikit_learn(several, name, average):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that class d is never predicted
        expected = SCORERS[name](LABELS, FOUND, average=average)
    assert several[f"{name} {average}"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCORERS)
def test_scores_of_each_class_equal_scikit_learn_and_are_nan_where_undefined(several, name):
    expected = SCORERS[name](LABELS, FOUND, average=None, labels=range(6), zero_division=np.nan)
    assert list(several[f"{name} none"]) == list(NAMES)
    np.testing.assert_allclose(list(several[f"{name} none"].values()), expected, rtol=1e-12)
    assert np.isnan(several["Precision none"]["d"]) and np.isnan(several["Recall none"]["e"])


PIXELS = Spec(
    {"image": Feature(Kind.IMAGE, (4, 5, 1), "uint8")},
    {"target": Feature(Kind.CATEGORY, (4, 5), "int32", vocabulary=("a", "b", "c", "d"))},
    Segmentation(),
)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
def test_iou_of_pixels_over_batches_with_padding(average):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(6, 4, 5, 4)).astype(np.float32)
    outputs[..., 3] = -9
    targets = rng.integers(0, 3, (6, 4, 5)).astype(np.int32)
    mask = np.array([True, True, True, True, True, False])
    metric = IoU(average, spec=PIXELS)
    state = metric.zero()
    for part in (slice(0, 2), slice(2, 6)):
        batch = {"targets": jnp.asarray(targets[part]), "mask": jnp.asarray(mask[part])}
        state = metric.add(state, jnp.asarray(outputs[part]), batch)
    true, found = targets[:5].ravel(), outputs[:5].argmax(-1).ravel()
    value = metric.value(state)
    if average == "none":
        assert np.isnan(value.pop("d"))
        np.testing.assert_allclose(list(value.values()), jaccard_score(true, found, average=None))
    else:
        np.testing.assert_allclose(value, jaccard_score(true, found, average=average))
