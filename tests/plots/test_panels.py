"""Mosaics and panels contain every image; histograms have one panel per column."""

import numpy as np
import pytest

from dltrain.plots.panels import histograms, mosaic, panels


def test_mosaic_arranges_images_in_rows():
    pictures = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1) * np.ones((1, 2, 3, 1), np.float32)
    drawn = mosaic(pictures, columns=3).axes[0].images[0].get_array()
    assert drawn.shape == (2 * 3, 3 * 4, 3)
    np.testing.assert_allclose(drawn[[0, 0, 0, 3, 3], [0, 4, 8, 0, 4], 0], np.arange(5) / 4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_panels_draw_each_row_with_its_range(depth):
    named = {"input": np.random.default_rng(0).normal(size=(4, 2, 2, depth)), "truth": np.eye(4).reshape(4, 2, 2)}
    figure = panels(named)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["input", "truth"]
    assert set(np.unique(figure.axes[1].images[0].get_array())) == {0, 1}


def test_histograms_have_a_panel_per_column_up_to_nine_without_non_finite_values():
    real, made = np.random.default_rng(0).normal(size=(2, 50, 11))
    made[0, 0] = np.nan
    figure = histograms(real, made, [f"c{k}" for k in range(11)])
    assert [axes.get_title() for axes in figure.axes] == [f"c{k}" for k in range(9)]
