"""AUROC and average precision against scikit-learn."""

import numpy as np
import pytest
from metric_cases import BITS, LABELS, LOGIT, NAMES, SPREAD, TWO, as_given, measured, softmax, spec_of, within
from sklearn import metrics as sk

from dltrain import metrics
from dltrain.tasks import Classification

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_binary_ranking_equals_scikit_learn_exactly(probable_binary, dtype):
    found, score = probable_binary, as_given(LOGIT[:, 0], dtype)
    assert len(np.unique(LOGIT)) > len(np.unique(LOGIT.astype(np.float32)))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(BITS, score), rel=1e-12)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(BITS, score), rel=1e-12)


def test_ranking_of_several_classes_is_one_versus_rest(dtype):
    spec, logits = spec_of(Classification(), NAMES[:4]), SPREAD
    chosen = {"auroc": metrics.AUROC(spec=spec), "ap": metrics.AveragePrecision(spec=spec)}
    alone = {f"{name} none": type(metric)(average="none", spec=spec) for name, metric in chosen.items()}
    found = measured(chosen | alone, logits, LABELS, dtype=dtype)
    p, ones, rel = softmax(logits), np.eye(4)[LABELS], within(dtype, 1e-6)
    for name, score in {"auroc": sk.roc_auc_score, "ap": sk.average_precision_score}.items():
        each = dict(zip(NAMES[:4], score(ones, p, average=None), strict=True))
        assert found[f"{name} none"] == pytest.approx(each, rel=rel)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(LABELS, p, multi_class="ovr"), rel=rel)
    assert found["ap"] == pytest.approx(sk.average_precision_score(ones, p, average="macro"), rel=rel)


def test_ranking_of_one_class_has_its_name_and_other_averages_are_an_error():
    found = measured({"auroc": metrics.AUROC(spec=TWO, average="none")}, LOGIT, BITS)["auroc"]
    expected = sk.roc_auc_score(BITS, as_given(LOGIT[:, 0], "float32"))
    assert found == {"yes": pytest.approx(expected, rel=1e-12)}
    with pytest.raises(ValueError, match="average=micro: must be macro or none"):
        metrics.AUROC(spec=TWO, average="micro")


def test_too_small_buffer_is_an_error():
    with pytest.raises(ValueError, match="max_examples=200: there are 203 examples; set max_examples=203"):
        measured({"auroc": metrics.AUROC(max_examples=200, spec=TWO)}, LOGIT, BITS)
