"""Smoothing, divergence and the suggested rates, on planted curves whose answers are known."""

import numpy as np
import pytest

from dltrain.tuning.curve import Suggestion, divergence, hardly_falls, longest_fall, recommend, smoothed, suggest

RATES = np.geomspace(1e-7, 10, 100)


def test_the_moving_average_of_a_constant_is_the_constant():
    np.testing.assert_allclose(smoothed(np.full(7, 3.5)), 3.5)


def test_the_moving_average_is_the_weighted_mean_of_all_losses_so_far():
    losses = np.random.default_rng(0).uniform(1, 2, 30)
    weights = 0.9 ** np.arange(30)[::-1]
    expected = [np.average(losses[:k], weights=weights[-k:]) for k in range(1, 31)]
    np.testing.assert_allclose(smoothed(losses, 0.9), expected)


@pytest.mark.parametrize(
    ("means", "end"),
    [
        ([2, 1, 4], None),
        ([2, 1, 4.01], 2),
        ([2, 1, np.nan, 1], 2),
        ([2, np.inf], 1),
        ([3, 2, 1, 3, 4.1, 0.1], 4),
        ([-1, -2, 3.9], None),  # it fell by 1, its size is 2: the bound is -2 + 3 * 2
        ([-1, -2, 4.1], 2),
        ([5, 0, 14.9], None),
        ([5, 0, 15.1], 2),
    ],
)
def test_a_loss_diverges_above_four_times_its_best(means, end):
    assert divergence(np.array(means, float)) == end


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([5, 4, 3, 2], (0, 3)),
        ([1, 5, 4, 6, 3, 2, 7], (2, 5)),  # 5 4 3 2: four points, up to the 2
        ([1, 2, 3], (0, 0)),
        ([3, 2, 9, 8, 7, 9], (2, 4)),
        ([9, 9, 9, 3, 2, 1], (2, 5)),
        ([2, 2, 2], (0, 0)),
    ],
)
def test_the_longest_fall_has_as_many_points_as_the_longest_falling_subsequence(values, ends):
    assert longest_fall(np.array(values, float)) == ends


def planted(start: int, bottom: int, end: int) -> np.ndarray:
    """Return a flat curve that falls from `start` to `bottom`, fastest in the middle, and then rises slowly."""
    k = np.arange(end)
    falling = (1 + np.cos(np.pi * np.clip((k - start) / (bottom - start), 0, 1))) / 2
    return 1 + falling + 0.01 * np.maximum(k - bottom, 0)


def test_each_rule_finds_its_point_of_a_planted_curve():
    valley, steepest, minimum = suggest(RATES, planted(40, 80, 90))
    assert [one.rule for one in (valley, steepest, minimum)] == ["valley", "steepest", "minimum"]
    np.testing.assert_allclose(valley.learning_rate, RATES[60])
    np.testing.assert_allclose(np.log(steepest.learning_rate), np.log(RATES[60]), atol=np.log(RATES[1] / RATES[0]))
    np.testing.assert_allclose(minimum.learning_rate, RATES[80] / 10)
    assert minimum.loss == 1 and valley.loss == 1.5


def test_the_first_tenth_of_the_rates_is_not_considered():
    means = planted(40, 80, 90)
    means[:10] = np.linspace(9, 0, 10)  # falls faster and lower than all that follows
    assert suggest(RATES, means) == suggest(RATES, planted(40, 80, 90))


@pytest.mark.parametrize("means", [np.linspace(1, 2, 100), np.ones(100), np.linspace(2, 1, 12)])
def test_nothing_is_suggested_for_a_loss_that_does_not_fall_or_diverges_at_once(means):
    assert suggest(RATES, means) == ()


@pytest.mark.parametrize(("rates", "chosen"), [([3, 1, 2], 2), ([1, 2, 3], 2), ([5, 5, 1], 5), ([], None)])
def test_the_middle_of_the_suggestions_is_recommended(rates, chosen):
    found = recommend([Suggestion("", rate, 0.0, "") for rate in rates])
    assert (found and found.learning_rate) == chosen


@pytest.mark.parametrize(("rate", "text"), [(0.00854, "0.0085"), (1.04e-7, "1e-07"), (12.3, "12")])
def test_a_rate_is_shown_to_two_digits_that_can_be_typed(rate, text):
    assert Suggestion("", rate, 0.0, "").rounded == text


def test_a_fall_from_after_the_lowest_point_is_not_the_steepest():
    means = np.r_[planted(40, 80, 90), np.linspace(1.1, 3, 5), np.linspace(2.5, 1.2, 3)]
    assert suggest(RATES, means)[1] == suggest(RATES, means[:90])[1]


@pytest.mark.parametrize(("low", "noise", "hardly"), [(1.9, 0.01, False), (1.9, 0.2, True), (1.98, 0.001, True)])
def test_a_fall_counts_if_it_is_larger_than_the_noise_of_batches_and_two_percent(low, noise, hardly):
    means = np.linspace(2, low, 200)
    losses = means + np.random.default_rng(0).normal(0, noise, 200)
    assert hardly_falls(losses, means) == hardly
