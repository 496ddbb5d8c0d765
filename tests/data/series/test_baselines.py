"""Forecasts by simple rules, compared with loops."""

import numpy as np
import pytest

from dltrain.data.series.baselines import forecasts, last_season, last_value, season_with_growth

RNG = np.random.default_rng(0)
VALUES = RNG.uniform(1, 5, (60, 2))
STARTS = np.array([20, 33, 50])


def test_the_last_value_and_the_last_season_are_repeated():
    for b, start in enumerate(STARTS):
        for h in range(9):
            np.testing.assert_array_equal(last_value(VALUES, STARTS, 9)[b, h], VALUES[start - 1])
            np.testing.assert_array_equal(last_season(VALUES, STARTS, 9, 4)[b, h], VALUES[start - 4 + h % 4])


def test_growth_is_that_of_the_last_season_over_the_one_before_once_for_each_season_ahead():
    found = season_with_growth(VALUES, STARTS, 9, 4)
    for b, start in enumerate(STARTS):
        growth = VALUES[start - 4 : start].sum(0) / VALUES[start - 8 : start - 4].sum(0)
        for h in range(9):
            expected = VALUES[start - 4 + h % 4] * growth ** (h // 4 + 1)
            np.testing.assert_allclose(found[b, h], expected, rtol=1e-12)


def test_a_season_with_values_of_both_signs_does_not_grow():
    values = VALUES - [[0, 3]]
    found, plain = season_with_growth(values, STARTS, 8, 4), last_season(values, STARTS, 8, 4)
    mixed = [min(values[start - 8 : start, 1]) <= 0 for start in STARTS]
    assert mixed == [True, True, False]
    np.testing.assert_array_equal((found != plain).all((1,)), [[True, not sign] for sign in mixed])


@pytest.mark.parametrize(
    ("season", "begin", "names"),
    [
        (None, 0, ["last value"]),
        (4, 0, ["last value", "last season", "last season with growth"]),
        (4, 14, ["last value", "last season"]),
        (4, 18, ["last value"]),
    ],
)
def test_only_rules_with_enough_rows_before_every_window_forecast(season, begin, names):
    begins = np.array([begin, begin, begin])
    found = forecasts(VALUES, STARTS, begins, horizon=3, season=season)
    assert list(found) == names and all(f.shape == (3, 3, 2) for f in found.values())
