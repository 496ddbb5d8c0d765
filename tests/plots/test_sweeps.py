"""Figures of a sweep: their axes, and which job is highlighted."""

import numpy as np
import pytest

from dltrain.plots.contour import contour
from dltrain.plots.parallel import parallel
from dltrain.plots.pareto import pareto
from dltrain.plots.slices import slices

RATES = np.repeat([1e-4, 1e-3, 1e-2], 3).tolist()
SIZES = np.tile([8.0, 16.0, 32.0], 3).tolist()
KEYS = {"optim.learning_rate": RATES, "model": ["mlp", "cnn", None] * 3}
SCORES = [0.1, 0.2, 0.3, 0.4, 0.9, 0.5, 0.6, 0.7, 0.8]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_parallel_coordinates_have_an_axis_for_each_key_and_the_metric():
    (axes,) = parallel(KEYS, "validation/accuracy", SCORES, best=4, higher=True).axes
    shown = texts(axes)
    assert {"optim.\nlearning_rate (log)", "model", "validation/\naccuracy"} <= set(shown)
    assert {"0.0001", "0.001", "0.01", "mlp", "cnn"} <= set(shown)
    jobs = [line for line in axes.lines if len(line.get_xdata()) == 3]
    (best,) = [line for line in jobs if line.get_linewidth() > 2]
    assert len(jobs) == 9 and best.get_ydata() == pytest.approx([0.5, 0, 1])
    assert np.isnan([line.get_ydata()[1] for line in jobs]).sum() == 3


@pytest.mark.parametrize("higher", [True, False])
def test_better_jobs_are_darker(higher):
    (axes,) = parallel(KEYS, "m", SCORES, best=4 if higher else 0, higher=higher).axes
    jobs = [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_linewidth() < 2]
    light = [sum(line.get_color()[:3]) for line in jobs]
    results = [line.get_ydata()[-1] for line in jobs]
    assert np.corrcoef(light, results)[0, 1] * (-1 if higher else 1) > 0.8


def test_slices_have_a_panel_for_each_key_with_the_means_of_its_values():
    figure = slices(KEYS, "validation/accuracy", SCORES, best=4)
    rate, model = (axes for axes in figure.axes if axes.axison)
    assert (rate.get_xlabel(), model.get_xlabel()) == ("optim.learning_rate (log)", "model")
    assert rate.get_ylabel() == "validation/accuracy"
    assert [label.get_text() for label in rate.get_xticklabels()] == ["0.0001", "0.001", "0.01"]
    means, points, star = rate.lines
    assert means.get_ydata() == pytest.approx([0.2, 0.6, 0.7])
    assert points.get_ydata() == pytest.approx(SCORES)
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.5, 0.9)
    assert len(model.lines[1].get_xdata()) == 6  # in three jobs it was not set


def test_a_grid_has_cells_with_the_means_of_their_jobs():
    figure = contour(
        ("rate", [*RATES, 1e-4]), ("size", [*SIZES, 8.0]), "accuracy", [*SCORES, 0.3], best=4, higher=True
    )
    axes = figure.axes[0]
    cells = np.asarray(axes.collections[0].get_array()).reshape(3, 3)
    assert cells == pytest.approx(np.array([[0.2, 0.4, 0.6], [0.2, 0.9, 0.7], [0.3, 0.5, 0.8]]))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0001", "0.001", "0.01"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "16", "32"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rate (log)", "size")
    assert (axes.lines[0].get_xdata()[0], axes.lines[0].get_ydata()[0]) == (1.5, 1.72)


def test_each_cell_of_a_long_grid_is_labelled():
    rates = np.geomspace(1e-5, 1e-1, 9).tolist() * 2
    figure = contour(("rate", rates), ("size", [1.0] * 9 + [2.0] * 9), "m", list(range(18)), best=0, higher=True)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(labels) == 9 and all(labels) and labels[0] == "1e-5"


def test_scattered_jobs_have_contours_and_points_on_a_line_have_none():
    r = np.random.default_rng(0)
    x, y = 10 ** r.uniform(-5, -1, 20), r.uniform(0, 1, 20)
    axes = contour(("x", x.tolist()), ("y", y.tolist()), "loss", (x + y).tolist(), best=3, higher=False).axes[0]
    assert axes.get_xlabel() == "x (log)" and len(axes.collections) >= 2
    line = contour(("x", y.tolist()), ("y", y.tolist()), "loss", y.tolist(), best=3, higher=False).axes[0]
    assert len(line.collections) == 1 and len(line.collections[0].get_offsets()) == 20


def test_the_front_is_a_line_with_names_and_axes_that_say_what_is_better():
    values = np.array([[0.9, 100.0], [0.8, 10.0], [0.5, 50.0], [0.95, 100_000.0]])
    names = ["validation/accuracy", "parameters"]
    (axes,) = pareto(names, values, ["0", "1", "2", "3"], front=[3, 0, 1], higher=[True, False]).axes
    assert axes.get_xlabel() == "validation/accuracy (higher is better)"
    assert axes.get_ylabel() == "parameters (lower is better)" and axes.get_yscale() == "log"
    assert axes.lines[1].get_xdata() == pytest.approx([0.95, 0.9, 0.8])
    assert texts(axes) == ["3", "0", "1"] and "3 of 4 jobs" in axes.get_title()
