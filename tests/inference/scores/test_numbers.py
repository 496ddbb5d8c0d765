"""Errors of each target are those of scikit-learn, also of resamples and of the columns of a forecast."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from dltrain.inference.scores.bootstrap import Resampling, estimates
from dltrain.inference.scores.numbers import number_statistic, r2_statistic
from dltrain.metrics import R2


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 4, 2)) * [1, 100] + [0, 1e5]
    return truth, truth + rng.normal(size=truth.shape) * [0.5, 50] + [0.2, 0]


@pytest.mark.parametrize("row", [None, 5])
def test_errors_of_a_column_are_those_of_scikit_learn(values, row):
    truth, predicted = values
    weights = np.ones((1, 60)) if row is None else np.concatenate(list(Resampling(100).weights(60)))[row : row + 1]
    statistic = number_statistic(truth, predicted)
    found = statistic.values(weights @ statistic.columns)
    about = {"sample_weight": np.repeat(weights[0], 4)}
    for k in range(2):
        pair = truth[..., k].ravel(), predicted[..., k].ravel()
        assert found[f"rmse/{k}"][0] == pytest.approx(root_mean_squared_error(*pair, **about), rel=1e-9)
        assert found[f"mae/{k}"][0] == pytest.approx(mean_absolute_error(*pair, **about), rel=1e-9)
        assert found[f"r2/{k}"][0] == pytest.approx(r2_score(*pair, **about), rel=1e-9)
        assert found[f"bias/{k}"][0] == pytest.approx(np.average(pair[1] - pair[0], weights=about["sample_weight"]))


def test_a_constant_target_has_no_r2(values):
    truth = np.full((20, 1), 3.0)
    found = estimates({"t": number_statistic(truth, truth + 1)}, Resampling(), {})["t"]
    assert np.isnan(found["r2/0"].value) and (found["bias/0"].value, found["bias/0"].low) == (1.0, 1.0)


@pytest.mark.parametrize("average", ["mean", "none"])
def test_r2_of_a_run_is_resampled_as_it_averages(values, average):
    truth, predicted = (v[:, 0] for v in values)
    metric = object.__new__(R2)
    metric.average, metric.names = average, ("one", "two")
    statistic = r2_statistic(metric, truth, predicted)
    found = statistic.values(statistic.columns.sum(0)[None])
    expected = r2_score(truth, predicted, multioutput="raw_values")
    if average == "mean":
        assert found[""][0] == pytest.approx(expected.mean())
    else:
        assert [found["one"][0], found["two"][0]] == pytest.approx(expected.tolist())
