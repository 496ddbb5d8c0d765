"""Curves, calibration and residuals: each has its lines, and none is blank."""

import io

import numpy as np
import pytest
from PIL import Image

from dltrain.plots.areas import MOST, Line, precision_recall, roc
from dltrain.plots.calibration import calibration
from dltrain.plots.png import png_bytes
from dltrain.plots.residuals import COLUMNS, residuals


def pixels(figure) -> np.ndarray:
    picture = np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB"))
    assert 200 <= picture.shape[0] <= 2000 and picture.std() > 3
    return picture


def line(area: float) -> Line:
    x = np.linspace(0, 1, 3000)
    return Line(x, x**0.2, area, chance=0.3)


@pytest.mark.parametrize("draw", [roc, precision_recall])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_classes_with_the_smallest_areas_are_drawn(draw, count):
    areas = np.linspace(0.99, 0.5, count)
    figure = draw({f"class $k$ {k}": line(area) for k, area in enumerate(areas)})
    pixels(figure)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts() if "chance" not in text.get_text()]
    kept = range(max(0, count - MOST), count)
    assert [float(text.rpartition(", ")[2]) for text in labels] == pytest.approx(areas[kept], abs=5e-4)
    assert (f"of {count} with the smallest areas" in axes.get_title()) == (count > MOST)


def test_an_undefined_area_is_not_drawn():
    figure = roc({"a": line(0.9), "b": line(np.nan)})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a, 0.900", "chance, 0.5"]


def test_bins_are_drawn_where_they_have_predictions():
    counts = np.array([0, 3, 0, 7])
    means = np.array([np.nan, 0.4, np.nan, 0.9]), np.array([np.nan, 1 / 3, np.nan, 1.0])
    figure = calibration(counts, *means, error=0.087, what="the probability")
    pixels(figure)
    top, bottom = figure.axes
    (points,) = [drawn for drawn in top.lines if drawn.get_marker() == "o"]
    np.testing.assert_allclose(points.get_xydata(), [[0.4, 1 / 3], [0.9, 1.0]])
    assert [bar.get_height() for bar in bottom.patches] == [0, 0.3, 0, 0.7]
    assert "0.087" in top.get_title()


@pytest.mark.parametrize("targets", [1, 6])
def test_residuals_of_the_first_targets_are_drawn(targets):
    rng = np.random.default_rng(0)
    predicted, errors = rng.normal(size=(2, 200, targets))
    errors[3, 0] = np.nan
    figure = residuals(predicted, errors, [f"t{k}" for k in range(targets)])
    pixels(figure)
    shown = min(COLUMNS, targets)
    assert len(figure.axes) == 2 * shown
    points = figure.axes[0].collections[0].get_offsets()
    assert len(points) == 199 and points[0].tolist() == [predicted[0, 0], errors[0, 0]]
    assert ("of 6" in figure.get_suptitle()) == (targets == 6)


def test_few_or_no_values_are_drawn_without_warnings():
    pixels(residuals(np.zeros((2, 1)), np.ones((2, 1)), ["a"]))
    pixels(residuals(np.full((2, 1), np.nan), np.ones((2, 1)), ["a"]))
