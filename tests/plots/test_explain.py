"""The figures of an explanation draw what they are given, also names and tokens that are hard to draw."""

import numpy as np
import pytest

from dltrain.plots.explain_columns import Panel, contributions, dependence, importance
from dltrain.plots.explain_images import filters, overlays, smoothed
from dltrain.plots.explain_series import occlusion
from dltrain.plots.explain_tokens import WIDE, coloured
from dltrain.plots.png import png_bytes

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_overlays_have_a_column_for_each_image(channels):
    images = RNG.integers(0, 256, (2, 6, 6, channels), np.uint8)
    values = RNG.normal(size=images.shape)
    values[1] = 0  # an image without any attribution
    figure = overlays(images, values, np.abs(values), ["cat 99%\ntrue: dog", "$x$ 5%"], wrong=[True, False])
    assert len(figure.axes) == 6 and figure.axes[0].get_title().startswith("cat")
    shown = figure.axes[4].images[0].get_array()
    strongest = np.unravel_index(values[0].sum(-1).argmax(), (6, 6))
    red, _, blue = shown[strongest][:3]
    assert red > blue and np.isfinite(figure.axes[5].images[0].get_array()).all()
    png_bytes(figure)


def test_only_large_maps_are_smoothed_and_keep_their_sum():
    small, large = RNG.normal(size=(2, 8, 8)), np.zeros((1, 40, 40))
    assert smoothed(small) is small
    large[0, 20, 10] = 1
    found = smoothed(large)
    assert found.max() == found[0, 20, 10] < 0.5
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(5, 3, 3, 1), (66, 2, 2, 3)])
def test_filters_are_drawn_up_to_64(shape):
    figure = filters(RNG.normal(size=shape), "convolutions.0")
    assert sum(bool(axes.images) for axes in figure.axes) == min(64, shape[0])
    png_bytes(figure)


def test_bars_have_intervals_and_dots():
    drops = {"loss": RNG.normal(size=(3, 4)), "accuracy": RNG.normal(size=(3, 4))}
    means = {name: values.mean(1) for name, values in drops.items()}
    widths = {"loss": np.full(3, 0.1), "accuracy": np.full(3, np.nan)}
    figure = importance(["a", "$b$", "ü" * 50], means, widths, drops, titles={n: n for n in drops})
    first = figure.axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in first.patches], means["loss"])
    assert len(first.get_yticklabels()) == 3
    png_bytes(figure)


def test_dependence_has_lines_for_numbers_and_bars_for_levels():
    one = {"price": RNG.normal(size=(4, 9))}
    line = Panel("size", np.arange(4.0), one, RNG.uniform(0, 3, 9))
    bars = Panel("city", np.array(["Bern", "東京", "a", "b"]), one, np.array([4, 3, 1, 1]))
    figure = dependence([line, bars], what="price")
    np.testing.assert_allclose(figure.axes[0].lines[9].get_ydata(), one["price"].mean(1))
    np.testing.assert_allclose([bar.get_height() for bar in figure.axes[1].patches], one["price"].mean(1))
    png_bytes(figure)
    several = {"probability_a": one["price"], "probability_b": one["price"] + 1}
    png_bytes(dependence([Panel("size", np.arange(4.0), several, np.zeros(9))] * 4, what="prediction"))


def test_rows_show_their_strongest_columns_with_values():
    columns = {f"c{i}": np.array([float(i), -i]) for i in range(12)}
    values = [{name: "1.5" for name in columns}, {}]
    figure = contributions(columns, values, ["a", "b\ntrue: c"], wrong=[False, True])
    assert figure.axes[0].get_yticklabels()[0].get_text() == "c11 = 1.5"
    assert figure.axes[1].get_yticklabels()[0].get_text() == "c11"
    png_bytes(figure)


def test_tokens_are_coloured_and_broken_into_lines():
    words = ["good", "$5", "東京", " ", *["word"] * 300]
    values = np.linspace(-1, 1, len(words))
    figure = coloured([words, []], [values, np.zeros(0)], ["spam 99%", "ham 50%"], wrong=[True, False])
    drawn = [text for text in figure.axes[0].texts if text.get_bbox_patch() is not None]
    assert drawn[0].get_text() == "good" and drawn[1].get_text() == r"\$5"
    assert max(text.get_position()[0] + len(text.get_text()) for text in drawn) <= WIDE
    first = drawn[0].get_bbox_patch().get_facecolor()
    assert first[2] > first[0]  # the most negative one is blue
    png_bytes(figure)


@pytest.mark.parametrize("horizon", [1, 5])
def test_occlusion_has_a_map_of_all_columns_and_one_for_each(horizon):
    effect = RNG.uniform(size=(3, 4, horizon, 2))
    stretches = [(-8, -6), (-6, -4), (-4, -2), (-2, 0)]
    figure = occlusion(effect, ["a", "b", "c"], stretches, ["x", "y"], title="past")
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == (4 if horizon > 1 else 1)
    np.testing.assert_allclose(maps[0].images[0].get_array(), effect.mean((2, 3)))
    png_bytes(figure)
