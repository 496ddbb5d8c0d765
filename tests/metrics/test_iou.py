"""Intersection over union equals scikit-learn's Jaccard score."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from dltrain.metrics import IoU
from dltrain.types import Feature, Kind, Spec, Task

PIXELS = Spec(
    {"image": Feature(Kind.IMAGE, (4, 5, 1), "uint8")},
    {"target": Feature(Kind.CATEGORY, (4, 5), "int32", vocabulary=("a", "b", "c", "d"))},
    Task.SEGMENTATION,
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
