"""Curves as SVG: points lie where they should, and what is left out is not what shows."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from dltrain.plots.svg import BOTTOM, LEFT, RIGHT, TOP, chart, lines, thinned, ticks, wants_log


def points(svg: str) -> list[np.ndarray]:
    """Return the points [N, 2] of each line that is drawn with a colour, and whether the SVG is well-formed."""
    found = [e.get("d") for e in ET.fromstring(svg).iter("path") if e.get("stroke") != "currentColor"]
    return [np.array([part.split() for part in d[1:].split("L")], float) for d in found]


def drawn(values, **options) -> np.ndarray:
    steps = np.arange(len(values)) * 10
    (found,) = points(chart(lines([("a", steps, np.array(values, float))]), "t", size=(500, 300), **options))
    return found


def test_points_are_on_a_linear_scale_from_the_smallest_to_the_largest_value():
    found = drawn([1.0, 4.0, 2.0])
    right, bottom = 500 - RIGHT, 300 - BOTTOM
    expected = [[LEFT, bottom], [(LEFT + right) / 2, TOP], [right, bottom - (bottom - TOP) / 3]]
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_on_a_log_scale_equal_ratios_have_equal_distances_and_zero_is_left_out():
    found = drawn([1.0, 10.0, 0.0, 100.0], log=True)
    assert len(found) == 3
    np.testing.assert_allclose(found[0, 1] - found[1, 1], found[1, 1] - found[2, 1], atol=0.11)


def test_the_marked_step_has_a_vertical_line():
    svg = chart(lines([("a", np.array([0, 10]), np.array([0.0, 1.0]))]), "t", mark=5, size=(500, 300))
    assert f'd="M{(LEFT + 500 - RIGHT) / 2:.1f} ' in svg
    assert "stroke-dasharray" not in chart(lines([("a", np.array([0, 9]), np.array([0.0, 1.0]))]), "t", mark=12)


def test_a_constant_and_a_single_point_are_drawn_and_nothing_is_said():
    assert np.isfinite(drawn([2.0, 2.0])).all() and np.isfinite(drawn([3.0])).all()
    assert "no values" in chart([], "t") and "no values" in chart(
        lines([("a", np.ones(1), -np.ones(1))]), "t", log=True
    )


def test_titles_are_escaped():
    assert ET.fromstring(chart([], '"><script>')).get("aria-label") == '"><script>'


def test_long_curves_keep_their_ends_and_extremes():
    values = np.random.default_rng(0).normal(size=10_000)
    values[4321], values[777] = 50, -50
    steps, kept = thinned(np.arange(10_000), values, most=200)
    assert len(steps) <= 200 and steps[0] == 0 and steps[-1] == 9999
    assert kept.max() == 50 and kept.min() == -50
    np.testing.assert_array_equal(kept, values[steps])
    np.testing.assert_array_equal(thinned(np.arange(5), values[:5])[1], values[:5])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.03, 0.11, [0.04, 0.06, 0.08, 0.1]),
        (-3, 2e4, [0, 5000, 10000, 15000, 20000]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low, high, expected):
    np.testing.assert_allclose(ticks(low, high), expected, atol=1e-12)


def test_a_loss_over_two_decades_wants_a_log_scale():
    assert wants_log(lines([("a", np.arange(2), np.array([1e-3, 1.0]))]))
    assert not wants_log(lines([("a", np.arange(2), np.array([0.5, 1.0]))]))
    assert not wants_log(lines([("a", np.arange(2), np.array([-1.0, 1.0]))]))


def test_more_curves_than_colours_differ_in_their_dashes():
    made = lines([(str(i), np.arange(2), np.arange(2.0)) for i in range(20)])
    assert len({(line.colour, line.dash) for line in made}) == 20
