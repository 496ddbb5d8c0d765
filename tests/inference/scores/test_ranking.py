"""Curves and the areas under them are those of scikit-learn, also of resamples, with tied scores."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from dltrain.inference.scores.bootstrap import Resampling
from dltrain.inference.scores.classes import log_odds
from dltrain.inference.scores.ranking import rank
from dltrain.metrics import ranking as on_device


@pytest.fixture(scope="module")
def ranked():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 12, (90, 3)).astype(np.float64), rng.uniform(size=(90, 3)) < [0.5, 0.2, 0.8]
    scores += 4 * positive
    drawn = Resampling(120, seed=2)
    return scores, positive, drawn, rank(scores, positive, drawn)


def test_areas_are_those_of_scikit_learn(ranked):
    scores, positive, drawn, found = ranked
    weights = np.concatenate(list(drawn.weights(90)))
    for k in range(3):
        assert found.auroc[k] == pytest.approx(roc_auc_score(positive[:, k], scores[:, k]), rel=1e-12)
        assert found.precision[k] == pytest.approx(average_precision_score(positive[:, k], scores[:, k]), rel=1e-12)
        for r in (0, 57, 119):
            about = {"sample_weight": weights[r]}
            expected = roc_auc_score(positive[:, k], scores[:, k], **about)
            assert found.drawn_auroc[r, k] == pytest.approx(expected, rel=1e-6)
            expected = average_precision_score(positive[:, k], scores[:, k], **about)
            assert found.drawn_precision[r, k] == pytest.approx(expected, rel=1e-6)


def test_curves_are_those_of_scikit_learn(ranked):
    scores, positive, _, found = ranked
    curve = found.curves[0]
    false, true, _ = roc_curve(positive[:, 0], scores[:, 0], drop_intermediate=False)
    np.testing.assert_allclose(curve.false, false[1:])
    np.testing.assert_allclose(curve.true, true[1:])
    precision, recall, _ = precision_recall_curve(positive[:, 0], scores[:, 0])
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    np.testing.assert_allclose(curve.true, recall[:-1][::-1])


def test_the_mean_over_columns_has_the_interval_of_the_mean(ranked):
    _, _, drawn, found = ranked
    estimate = found.estimate(drawn, [0, 1, 2], "auroc")
    assert estimate.value == pytest.approx(found.auroc.mean())
    low, high = np.percentile(found.drawn_auroc.mean(1), [2.5, 97.5])
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


def test_log_odds_are_those_of_the_metrics():
    logits = np.random.default_rng(0).normal(size=(40, 5)) * [1, 10, 1, 30, 1]
    expected = np.asarray(on_device.log_odds(logits.astype(np.float32)))
    np.testing.assert_allclose(
        log_odds(logits.astype(np.float32).astype(np.float64)), expected, rtol=2e-5, atol=2e-5
    )
