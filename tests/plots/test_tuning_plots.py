"""The figures of `find-lr` and `find-batch` show every point, and mark what is recommended."""

import numpy as np
import pytest

from dltrain.plots.batch_sizes import batch_sizes
from dltrain.plots.learning_rates import learning_rates


def test_rates_after_a_divergence_are_shaded_and_the_recommended_one_is_bold():
    rates, losses = np.geomspace(1e-3, 1, 10), np.r_[np.linspace(2, 1, 6), 50, 60]
    figure = learning_rates(
        rates, losses, losses, count=6, suggestions={"a": 0.01, "b": 0.1}, recommended="b", title="t"
    )
    (axes,) = figure.axes
    points, mean, *marks = axes.lines
    np.testing.assert_array_equal(points.get_xdata(), rates[:8])
    np.testing.assert_array_equal(mean.get_ydata(), losses[:6])
    assert [mark.get_xdata()[0] for mark in marks] == [0.01, 0.1]
    assert marks[1].get_linewidth() > marks[0].get_linewidth()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[2:] == ["diverged: not considered", "a 0.01", "b 0.1 (recommended)"]
    assert axes.get_ylim()[1] < 3 and axes.get_xscale() == "log"


def test_a_curve_without_a_point_or_a_suggestion_is_drawn():
    rates, nothing = np.geomspace(1, 9, 3), np.ones(0)
    assert learning_rates(rates, nothing, nothing, count=0, suggestions={}, recommended="").axes


@pytest.mark.parametrize("recommended", [16, None])
def test_every_batch_size_is_drawn_with_its_speed_and_memory(recommended):
    figure = batch_sizes([8, 16, 32], [50, 99, 100], [2**20, 2**21, 2**22], recommended=recommended, share=0.95)
    speed, memory = figure.axes
    assert list(speed.lines[0].get_ydata()) == [50, 99, 100] and list(memory.lines[0].get_ydata()) == [1, 2, 4]
    assert speed.lines[1].get_ydata()[0] == 95
    assert [text.get_text() for text in speed.get_xticklabels()] == ["8", "16", "32"]
    assert len(memory.lines) == 1 + (recommended is not None)
