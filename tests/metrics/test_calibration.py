"""The expected calibration error against its definition."""

import numpy as np
import pytest
from metric_cases import BITS, FOUND, LABELS, LOGIT, LOGITS, YES, softmax, within

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_calibration_error_equals_its_definition(probable, dtype):
    p = softmax(LOGITS).max(1)
    bins = np.ceil(p * 10) - 1
    right = LABELS == FOUND
    gaps = [abs(right[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert probable["ece"] == pytest.approx(sum(gaps), rel=within(dtype, 1e-5))


def test_binary_confidence_is_that_of_the_predicted_class(probable_binary, dtype):
    p = 1 / (1 + np.exp(-np.abs(LOGIT[:, 0])))
    bins = np.clip(np.ceil(p * 5) - 1, 0, 4)
    right = BITS == YES
    gaps = [abs(right[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert probable_binary["ece"] == pytest.approx(sum(gaps), rel=within(dtype, 1e-5))
