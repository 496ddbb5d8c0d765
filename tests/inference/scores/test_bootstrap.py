"""Bootstrap intervals: of a mean and of an accuracy they are those of the normal distribution."""

import math

import numpy as np
import pytest

from dltrain.inference.scores.bootstrap import FEWEST, MOST_DRAWS, Estimate, Resampling, Statistic, estimates


def mean(values: np.ndarray) -> Statistic:
    columns = np.stack([values, np.ones(len(values))], 1)
    return Statistic(columns, lambda sums: {"": sums[:, 0] / sums[:, 1]})


def test_the_interval_of_an_accuracy_is_that_of_a_binomial():
    right = (np.arange(4000) % 5 > 0).astype(np.float64)  # 0.8
    found = estimates({"accuracy": mean(right)}, Resampling(4000), {})["accuracy"][""]
    half = 1.959964 * math.sqrt(0.8 * 0.2 / 4000)
    assert found.value == pytest.approx(0.8, rel=1e-12)
    assert found.low == pytest.approx(0.8 - half, abs=0.1 * half)
    assert found.high == pytest.approx(0.8 + half, abs=0.1 * half)


def test_each_resample_has_as_many_examples_and_the_seed_repeats_them():
    first, again, other = (np.concatenate(list(Resampling(200, seed).weights(31))) for seed in (3, 3, 4))
    assert first.shape == (200, 31) and (first.sum(1) == 31).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_blocks_do_not_change_the_sums(monkeypatch):
    values = {"a": mean(np.random.default_rng(0).normal(size=50))}
    whole = estimates(values, Resampling(150), {})
    monkeypatch.setattr("dltrain.inference.scores.bootstrap.BLOCK", 50 * 7)
    assert estimates(values, Resampling(150), {})["a"][""].value == whole["a"][""].value
    drawn = np.concatenate(list(Resampling(150).weights(50)))
    assert drawn.shape == (150, 50) and (drawn.sum(1) == 50).all()


def test_a_known_value_is_returned_as_it_is():
    found = estimates({"a": mean(np.arange(10.0))}, Resampling(), {"a": {"": 4.500001}})["a"][""]
    assert found.value == 4.500001 and found.low < 4.5 < found.high


def test_large_splits_are_resampled_less_often_and_then_not_at_all():
    assert Resampling().for_size(1000) == Resampling()
    assert Resampling().for_size(MOST_DRAWS / 500).count == 500
    assert Resampling().for_size(MOST_DRAWS / (FEWEST - 1)).count == 0
    none = estimates({"a": mean(np.arange(10.0))}, Resampling(0), {})["a"][""]
    assert none.value == 4.5 and math.isnan(none.low) and math.isnan(none.high)


def test_what_is_undefined_in_most_resamples_has_no_interval():
    drawn = np.where(np.arange(1000) % 5 == 0, np.nan, 0.5)
    found = Resampling().interval(0.5, drawn)
    assert isinstance(found, Estimate) and math.isnan(found.low)
    assert Resampling().interval(0.5, np.where(np.arange(1000) % 20 == 0, np.nan, 0.5)).low == 0.5
    assert math.isnan(Resampling().interval(math.nan, np.zeros(1000)).low)
