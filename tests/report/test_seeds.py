"""Statistics over seeds, against scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from dltrain.report.seeds import corrected_spread, difference, spread

ONE, OTHER = [0.91, 0.93, 0.90, 0.94], [0.88, 0.89, 0.90]


def test_the_interval_of_a_mean_is_that_of_student():
    found = spread(ONE)
    assert found.mean == pytest.approx(np.mean(ONE)) and found.deviation == pytest.approx(np.std(ONE, ddof=1))
    assert found.interval == pytest.approx(stats.t.interval(0.95, 3, np.mean(ONE), stats.sem(ONE)))
    assert (spread([2.0]).count, spread([2.0]).deviation, spread([2.0]).interval) == (1, None, None)


def test_the_difference_is_that_of_welchs_test():
    found, expected = difference(ONE, OTHER), stats.ttest_ind(ONE, OTHER, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.value == pytest.approx(np.mean(ONE) - np.mean(OTHER)) and found.clear == (expected.pvalue < 0.05)


def test_p_is_multiplied_by_the_number_of_pairs():
    one = difference(ONE, OTHER)
    assert one.clear and difference(ONE, OTHER, pairs=3).p == pytest.approx(3 * one.p)
    assert not difference(ONE, OTHER, pairs=100).clear and difference(ONE, OTHER, pairs=10_000).p == 1.0


def test_without_any_spread_nothing_can_be_said():
    assert difference([1.0, 1.0], [2.0, 2.0]) is None


def test_of_equal_groups_one_in_twenty_differs():
    rng = np.random.default_rng(0)
    found = [difference(*rng.normal(size=(2, 4))).clear for _ in range(1000)]
    assert 0.02 < np.mean(found) < 0.08


def test_the_interval_over_folds_has_the_corrected_variance_of_nadeau_and_bengio():
    values = np.array([0.91, 0.93, 0.90, 0.94, 0.92])
    found = corrected_spread(values, ratio=1 / 4)
    error = np.sqrt((1 / 5 + 1 / 4) * values.var(ddof=1))
    assert found.interval == pytest.approx(stats.t.interval(0.95, 4, values.mean(), error))
    low, high = spread(values).interval
    assert found.interval[0] < low and found.interval[1] > high
    assert corrected_spread([0.5], ratio=1.0).interval is None
