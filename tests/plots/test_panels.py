"""Mosaics and panels contain every image; histograms have one panel per column."""

import numpy as np
import pytest

from dltrain.plots.caption import add_caption
from dltrain.plots.panels import histograms, masks, mosaic, panels


def test_mosaic_arranges_images_in_rows():
    pictures = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1) * np.ones((1, 2, 3, 1), np.float32)
    drawn = mosaic(pictures, columns=3).axes[0].images[0].get_array()
    assert drawn.shape == (2 * 3, 3 * 4, 3)
    np.testing.assert_allclose(drawn[[0, 0, 0, 3, 3], [0, 4, 8, 0, 4], 0], np.arange(5) / 4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_panels_draw_all_rows_in_the_range_of_the_first(depth):
    original = np.random.default_rng(0).uniform(0, 4, size=(4, 2, 2, depth))
    figure = panels({"original": original, "reconstruction": original / 2}, "title")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["original", "reconstruction"]
    above, below = (np.asarray(axes.images[0].get_array())[:2, :2] for axes in figure.axes)
    shown = original[..., :3] if depth == 3 else original.mean(-1, keepdims=True)
    low, size = shown.min(), shown.max() - shown.min()
    np.testing.assert_allclose(above * size + low, np.broadcast_to(shown[0], above.shape), atol=1e-5)
    np.testing.assert_allclose(below, np.clip((shown[0] / 2 - low) / size, 0, 1) + 0 * below, atol=1e-5)


@pytest.mark.parametrize(("count", "named"), [(2, True), (11, True), (21, False)])
def test_masks_have_the_same_colour_for_a_class_everywhere_and_a_legend(count, named):
    truth = np.arange(count).repeat(4).reshape(count, 2, 2)
    prediction = np.zeros_like(truth)
    names = [f"class {k}" for k in range(count)]
    figure = masks(np.zeros((count, 2, 2, 1)), truth, prediction, names)
    _, true, predicted = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    colours = [tuple(true[0, 3 * k]) for k in range(count)]
    assert len(set(colours)) == count  # tiles of 2x2, a line between them
    assert (predicted[0, ::3] == predicted[0, 0]).all() and tuple(predicted[0, 0]) == colours[0]
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == names * named


def test_a_caption_fits_below_its_figure():
    figure = add_caption(mosaic(np.zeros((4, 3, 3, 1))), "test set, step 1,234 (best state), EMA weights; $")
    lines = figure.get_supxlabel().split("\n")
    assert len(lines) > 1 and " ".join(lines) == r"test set, step 1,234 (best state), EMA weights; \$"


def test_histograms_have_a_panel_per_column_up_to_nine_without_non_finite_values():
    real, made = np.random.default_rng(0).normal(size=(2, 50, 11))
    made[0, 0] = np.nan
    figure = histograms(real, made, [f"c{k}" for k in range(11)])
    assert [axes.get_title() for axes in figure.axes] == [f"c{k}" for k in range(9)]
