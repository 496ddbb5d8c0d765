"""The figures of the report: drawn without warnings (which are errors here), not blank, with their markers."""

import io

import numpy as np
import pytest
from few import few
from matplotlib.figure import Figure
from PIL import Image

from dltrain.plots.attention import over_steps, over_tokens
from dltrain.plots.augmented import augmented
from dltrain.plots.confusion import confusion
from dltrain.plots.curves import curves
from dltrain.plots.gallery import gallery
from dltrain.plots.labels import label_of, labels
from dltrain.plots.png import png_bytes, png_size, save_png
from dltrain.plots.samples import WRONG, captioned, choose, samples, scatter
from dltrain.plots.series import series
from dltrain.types import Kind

DIGITS = [str(k) for k in range(10)]
RED = tuple(int(WRONG[k : k + 2], 16) for k in (1, 3, 5))


def pixels(figure) -> np.ndarray:
    """The drawn figure, uint8 [H, W, 3]; checks what holds for every figure."""
    data = png_bytes(figure)
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert png_size(data) == (picture.shape[1], picture.shape[0])
    assert 200 <= picture.shape[0] <= 2000 and 200 <= picture.shape[1] <= 2000
    assert picture.std() > 3  # not blank
    return picture


def test_a_figure_is_drawn_once_as_matplotlib_saves_it(monkeypatch):
    def figure():
        return confusion(np.arange(9).reshape(3, 3), ["a", "b", "c"])

    saved, drawn, draw = io.BytesIO(), [], Figure.draw
    figure().savefig(saved, format="png", dpi=110, metadata={"Software": None})
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: drawn.append(self) or draw(self, renderer))
    assert png_bytes(figure(), dpi=110) == saved.getvalue()
    assert len(drawn) == 1


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """The number of pixels of this colour, allowing for antialiasing."""
    return int((np.abs(picture.astype(int) - np.asarray(colour)[None, None, :]).max(axis=-1) < 12).sum())


def history(points: int, validations: int) -> dict:
    """A run whose loss falls over three decades."""
    step = np.arange(1, points + 1) * 10
    seen = np.linspace(step[-1] // validations, step[-1], validations).astype(int)
    loss = 2.3 * np.exp(-7 * step / step[-1])
    return {
        "train": {"step": step.tolist(), "loss": loss.tolist()},
        "validation": {
            "step": seen.tolist(),
            "loss": (2.5 * np.exp(-6 * seen / step[-1])).tolist(),
            "accuracy": (1 - np.exp(-3 * seen / step[-1])).tolist(),
        },
    }


@few(("points", "validations"), [(1, 1), (10_000, 500), (200, 20)], 2)
def test_curves_draw_both_splits_from_one_point_to_ten_thousand(points, validations):
    figure = curves(history(points, validations), best_step=points * 10, title="cnn on $mnist")
    picture = pixels(figure)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    assert has_colour(picture, (31, 119, 180)) and has_colour(picture, (255, 127, 14))
    for axes in figure.axes:
        assert f"best step {points * 10:,}" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_curves_use_a_log_scale_only_for_a_loss_over_two_decades():
    wide, narrow = curves(history(200, 20)).axes, curves({"train": {"step": [1, 2], "loss": [2.0, 0.5]}}).axes
    assert [axes.get_yscale() for axes in wide] == ["log", "linear"]
    assert narrow[0].get_yscale() == "linear"
    below_zero = curves({"train": {"step": [1, 2, 3], "loss": [200.0, 0.5, -3.0]}}).axes
    assert below_zero[0].get_yscale() == "linear"


def test_curves_leave_out_non_finite_values():
    figure = curves({"train": {"step": [1, 2, 3, 4], "loss": [1.0, float("nan"), float("inf"), None]}})
    (line,) = figure.axes[0].get_lines()
    assert line.get_xydata().tolist() == [[1.0, 1.0]]
    pixels(curves({"train": {"step": [1], "loss": [float("nan")]}}))
    pixels(curves({}))


def test_curves_have_no_empty_panel_and_leave_out_classes_if_there_are_many():
    nothing = {"step": [1, 2], "loss": [2.0, 1.0], "auroc": [None, float("nan")], "r2": [0.1, 0.2]}
    assert [axes.get_title() for axes in curves({"validation": nothing}).axes] == ["loss", "r2"]
    many = {"step": [1], "loss": [1.0], "f1": [0.5], **{f"f1/{k}": [0.5] for k in range(12)}}
    assert [axes.get_title() for axes in curves({"validation": many}).axes if axes.axison] == ["loss", "f1"]


def test_curves_with_series_of_different_lengths_are_an_error():
    with pytest.raises(ValueError, match="train: 2 steps and 1 values of loss"):
        curves({"train": {"step": [1, 2], "loss": [1.0]}})


@few("k", [2, 100, 1, 10], 2)
def test_confusion_draws_counts_only_for_few_classes(k):
    matrix = np.eye(k, dtype=int) * 50 + np.random.default_rng(0).integers(0, 3, (k, k))
    figure = confusion(matrix, [f"class_{i}" for i in range(k)])
    pixels(figure)
    counts, shares = figure.axes[:2]
    if k == 100:
        assert not counts.texts and len(counts.get_xticks()) <= 34
    else:
        assert [int(text.get_text()) for text in counts.texts] == matrix.ravel().tolist()
        assert len(shares.texts) == k * k


def test_confusion_normalises_rows_and_greys_a_class_without_examples():
    figure = confusion(np.array([[3, 1], [0, 0]]), ["cat", "dog"])
    counts, shares = figure.axes[:2]
    assert [text.get_text() for text in shares.texts] == ["0.75", "0.25"]
    assert (counts.get_xlabel(), counts.get_ylabel()) == ("predicted", "true")
    assert figure.get_suptitle() == "accuracy 75.00% of 4 examples"
    assert has_colour(pixels(figure), (230, 230, 230)) > 1000


def test_confusion_with_a_wrong_number_of_names_is_an_error():
    with pytest.raises(ValueError, match="K class names"):
        confusion(np.eye(3, dtype=int), ["a", "b"])


@pytest.mark.parametrize(
    ("shape", "low", "high", "dtype"),
    [
        ((8, 8, 1), 0, 16, np.uint8),
        ((28, 28), 0, 255, np.float32),
        ((20, 30, 3), -2.5, 3.5, np.float64),
        ((8, 8, 4), 0, 255, np.uint8),
        ((8, 8, 2), 5, 5, np.float16),
    ],
)
def test_samples_frame_wrong_images_in_red(shape, low, high, dtype):
    inputs = np.broadcast_to(np.linspace(low, high, 5).reshape(5, *[1] * len(shape)), (5, *shape)).astype(dtype)
    truth, losses = np.arange(5), np.linspace(0, 1, 5)
    right = pixels(samples(inputs, Kind.IMAGE, truth, truth, losses, DIGITS))
    wrong = pixels(samples(inputs, Kind.IMAGE, truth, np.array([0, 1, 2, 7, 4]), losses, DIGITS))
    assert has_colour(right, RED) == 0
    assert has_colour(wrong, RED) > 300


def titles_of(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_samples_share_the_range_of_all_images():
    inputs = np.stack([np.full((4, 4, 1), value, np.float32) for value in (-1.0, 0.0, 3.0)])
    figure = samples(inputs, Kind.IMAGE, np.arange(3), np.arange(3), np.zeros(3), DIGITS)
    shown = [image.get_array()[0, 0].tolist() for image in figure.axes[0].images]
    assert shown == [[0.0] * 3, [0.25] * 3, [1.0] * 3]


def test_samples_accept_images_with_nan():
    inputs = np.full((2, 4, 4, 1), np.nan, np.float32)
    pixels(samples(inputs, Kind.IMAGE, np.arange(2), np.arange(2), np.full(2, np.nan), DIGITS))


def test_samples_show_prediction_and_truth():
    figure = samples(np.zeros((2, 4, 4, 1)), Kind.IMAGE, np.array([3, 4]), np.array([3, 5]), np.zeros(2), DIGITS)
    assert titles_of(figure) == ["3", "5\ntrue: 4"]


def test_samples_show_the_probability_of_the_prediction():
    shares, inputs = np.array([0.987, 0.51]), np.zeros((2, 4, 4, 1))
    given = {"confidence": shares, "worst": 1}
    figure = samples(inputs, Kind.IMAGE, np.array([3, 4]), np.array([3, 5]), np.zeros(2), DIGITS, **given)
    assert titles_of(figure) == ["3 99%", "5 51%\ntrue: 4"]
    title = " ".join(figure.get_suptitle().split())
    assert title == (
        "predictions, each with the probability of its class; red: wrong; the first 1 have the largest loss"
    )
    long = samples(
        inputs, Kind.IMAGE, np.zeros(2, int), np.zeros(2, int), np.zeros(2), ["ankle boot", "bag"], **given
    )
    assert titles_of(long)[0] == "ankle boot\n99%"
    assert "none of these is wrong" in long.get_suptitle()
    pixels(long)


def test_samples_draw_some_of_many():
    truth, prediction = np.zeros(500, int), np.zeros(500, int)
    prediction[444] = 9
    figure = samples(np.zeros((500, 5, 2)), Kind.SEQUENCE, truth, prediction, np.zeros(500), DIGITS)
    assert [axes.get_title() for axes in figure.axes] == ["9\ntrue: 0", *["0"] * 31]


def test_samples_draw_sequences_and_tables():
    rng = np.random.default_rng(0)
    truth, prediction, losses = rng.integers(0, 2, 12), rng.integers(0, 2, 12), rng.random(12)
    classes = ["up", "down"]
    sequences = samples(rng.normal(size=(12, 30, 2)), Kind.SEQUENCE, truth, prediction, losses, classes)
    assert len(sequences.axes[0].get_lines()) == 2 and has_colour(pixels(sequences), RED) > 300
    table = samples(rng.normal(size=(12, 4)), Kind.NUMBERS, truth, prediction, losses, classes)
    assert table.axes[0].get_title() == f"{(truth != prediction).sum()} of 12 examples are wrong"
    pixels(table)
    numbers = samples(rng.normal(size=(12, 4)), Kind.NUMBERS, losses, losses + 0.1, losses, names=["price"])
    assert numbers.axes[0].get_title().startswith("price\nR² ")
    pictures = samples(rng.random((12, 8, 8, 1)), Kind.IMAGE, losses, losses + 0.1, losses)
    assert has_colour(pixels(pictures), RED) > 300


def test_scatter_draws_the_diagonal_and_rings_the_worst():
    truth = np.arange(40.0)
    prediction = truth.copy()
    prediction[7] = 30.0
    figure = scatter(truth, prediction, "progression")
    axes = figure.axes[0]
    assert axes.get_lines()[0].get_xydata().tolist() == [[0.0, 0.0], [39.0, 39.0]]
    assert [7.0, 30.0] in axes.collections[-1].get_offsets().tolist()
    assert has_colour(pixels(figure), RED) > 20
    both = scatter(np.stack([truth, truth], 1), np.stack([prediction, np.full(40, np.nan)], 1))
    score = 1 - np.square(truth - prediction).sum() / np.square(truth - truth.mean()).sum()
    assert [panel.get_title() for panel in both.axes] == [
        f"target 0\nR² {score:.3f} of 40 examples",
        "target 1 (40 not finite)",
    ]
    constant = scatter(np.ones(3), np.arange(3.0), "c")
    assert constant.axes[0].get_title() == "c"  # R² is undefined
    pixels(both)


def test_choose_returns_the_worst_errors_first_then_the_first_others():
    truth = np.zeros(100, int)
    prediction = truth.copy()
    prediction[[10, 50, 60, 70]] = 1
    losses = np.linspace(0, 1, 100)
    losses[10] = np.nan
    assert choose(truth, prediction, losses, 6).tolist() == [10, 70, 60, 0, 1, 2]
    assert choose(truth, truth, losses, 3).tolist() == [0, 1, 2]
    assert sorted(choose(truth, prediction, losses, 500).tolist()) == list(range(100))
    numbers = np.linspace(0, 1, 4)
    assert choose(numbers, numbers, np.array([0.0, 3.0, 1.0, 2.0]), 2).tolist() == [1, 0]


def test_names_without_glyphs_become_numbers_and_formulas_are_escaped():
    names = ["cat 🧪", "猫", "日本", "price in $", r"$\frac", "naïve Ω", "", "a class name that is far too long"]
    shown = labels(names)
    assert shown[:4] == ["cat", "#1", "#2", r"price in \$"] and shown[5:7] == ["naïve Ω", "#6"]
    assert len(shown[7]) == 16
    assert labels(["dog 🧪", "dog 🧬"]) == ["#0", "#1"]
    assert (label_of(1, shown), label_of(99, shown), label_of(-1, shown)) == ("#1", "#99", "#-1")
    pixels(confusion(np.eye(8, dtype=int), names))


def test_equal_figures_are_equal_files(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        save_png(curves(history(20, 5)), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_captions_are_above_their_images_and_wrong_ones_are_red():
    inputs = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
    texts = [("the even number zero", "the even number zero"), ("", "the $ 6 of an ox"), ("one", "two")]
    figure = captioned(inputs, texts)
    assert [" ".join(title.split()) for title in titles_of(figure)] == [
        "the even number zero",
        r"(nothing) true: the \$ 6 of an ox",
        "one true: two",
    ]
    assert has_colour(pixels(figure), RED)
    assert not has_colour(pixels(captioned(inputs[:1], texts[:1])), RED)


def test_weights_over_steps_are_bars_and_over_tokens_a_labelled_map():
    weights = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])
    figure = over_steps(np.random.default_rng(0).normal(size=(2, 3, 4, 1)), weights, ["row 5", "row 9"])
    pixels(figure)
    for row in range(2):
        assert [bar.get_width() for bar in figure.axes[2 * row + 1].patches] == weights[row].tolist()
    figure = over_tokens([["a", "b", "a"], ["c"] * 50], [["one", "<end>"], ["$"]], [weights, weights[:1, :1]])
    pixels(figure)
    first, second = figure.axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["a", "b", "a"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["one", "<end>"]
    assert "c" not in [label.get_text() for label in second.get_xticklabels()]  # too many to be read
    np.testing.assert_array_equal(first.images[0].get_array(), weights)


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_below_their_originals_in_the_same_range(channels):
    originals = np.random.default_rng(0).integers(0, 200, (3, 8, 8, channels)).astype(np.uint8)
    versions = np.stack([originals * 1.0, originals + 500.0, originals - 500.0])
    figure = augmented(originals, versions, Kind.IMAGE, [["a", "b", "c"]] * 3 + [["a 70%\nb 30%", "b", "c"]])
    pixels(figure)
    drawn = np.stack([image.get_array() for image in figure.axes[0].images]).reshape(4, 3, 8, 8, 3)
    np.testing.assert_array_equal(drawn[1], drawn[0])
    assert (drawn[2] == 1).all() and (drawn[3] == 0).all()  # cut off, not stretched
    assert titles_of(figure)[-3:] == ["a 70%\nb 30%", "b", "c"]


def test_augmented_sequences_are_lines_over_one_range():
    originals = np.cumsum(np.random.default_rng(0).normal(size=(3, 40, 2)), axis=1)
    figure = augmented(originals, np.stack([originals + 1, originals - 1]), Kind.SEQUENCE, [[""] * 3] * 3)
    pixels(figure)
    assert {axes.get_ylim() for axes in figure.axes} == {(originals.min(), originals.max())}
    assert all(len(axes.lines) == 2 for axes in figure.axes)


def test_a_gallery_has_a_row_for_each_class_with_its_count():
    images = {"a": np.zeros((3, 4, 4, 3), np.uint8), "b": np.full((8, 4, 4, 3), 200, np.uint8)}
    figure = gallery(images, {"a": 3, "b": 1200})
    assert len(figure.axes) == 2 * 8 and [len(axes.images) for axes in figure.axes] == [1] * 3 + [0] * 5 + [1] * 8
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["a\n3", "b\n1,200"]


def test_a_long_series_is_drawn_by_its_lowest_and_highest_values():
    values = np.random.default_rng(0).normal(size=(50_000, 2))
    values[777, 0], values[40_001, 1] = 99, -99
    figure = series(values, ("x", "y"), {"train": 40_000, "test": 50_000})
    first, second = figure.axes
    drawn = first.lines[0].get_ydata()
    assert len(drawn) <= 4002 and drawn.max() == 99 and second.lines[0].get_ydata().min() == -99
    assert np.all(np.diff(first.lines[0].get_xdata()) >= 0)
    assert [text.get_text().strip() for text in first.texts] == ["train ends", "test ends"] and not second.texts
