"""Means of probabilities, values and quantiles, against NumPy."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from dltrain.errors import ConfigError
from dltrain.inference.ensemble.combine import check_averaged, combine
from dltrain.tasks import (
    Binary,
    Classification,
    Forecasting,
    Generation,
    Multilabel,
    Ordinal,
    Reconstruction,
    Regression,
)

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> list[np.ndarray]:
    return [RNG.normal(size=shape, scale=3).astype(np.float32) for _ in range(3)]


@pytest.mark.parametrize(
    ("task", "shape", "mean_of"),
    [
        (Classification(), (7, 4), softmax),
        (Ordinal(), (7, 4), softmax),
        (Binary(), (7, 1), expit),
        (Multilabel(), (7, 5), expit),
        (Regression(), (7, 2), lambda x: x),
        (Forecasting(), (7, 3, 2), lambda x: x),
    ],
    ids=lambda value: str(value) if hasattr(value, "outputs") else "",
)
def test_the_ensemble_predicts_the_mean_of_its_members(task, shape, mean_of):
    members = drawn(*shape)
    of = (lambda x: softmax(x, -1)) if mean_of is softmax else mean_of
    expected = np.mean([of(one.astype(np.float64)) for one in members], 0)
    np.testing.assert_allclose(of(combine(members, task)), expected, rtol=1e-5, atol=1e-6)


def test_each_quantile_is_the_mean_of_that_quantile():
    task, members = Regression((0.1, 0.5, 0.9)), drawn(6, 1, 3)  # not in order: they cross
    expected = np.mean([np.sort(one, -1) for one in members], 0)
    np.testing.assert_allclose(combine(members, task), expected, rtol=1e-6)


def test_a_single_member_stays_as_it_is():
    (one, *_) = drawn(5, 3)
    assert combine([one], Classification()) is one


def test_tasks_without_a_mean_are_refused():
    for task in (Generation(), Reconstruction()):
        with pytest.raises(ConfigError, match=f"not those of task={task}"):
            check_averaged(task)
    check_averaged(Forecasting())
