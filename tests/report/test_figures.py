"""The figures of a run depend on task and model, and show the right examples."""

from types import SimpleNamespace

import numpy as np
import pytest

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.engine.evaluate import Evaluation
from dltrain.report import figures as module
from dltrain.report.figures import FEW, PANELS, plot_split
from dltrain.tasks import Reconstruction, Segmentation

CASES = {
    "unet": ("data=digit_masks", "model.channels=[2]"),
    "attention_lstm": ("data=digits", "model.hidden=4"),
    "autoencoder": ("data=digits", "model.widths=[4]"),
}


@pytest.fixture
def drawn(monkeypatch):
    """Draw the figures of a model with random outputs; the 30th of 40 examples has the largest loss."""

    def draw(name):
        config = compose_words(f"model={name}", *CASES[name]).config
        parts = assemble(config)
        program, rng = Program(parts, make_plan(config, parts)), np.random.default_rng(0)
        answers = answer_shape(parts.spec)
        monkeypatch.setattr(Program, "outputs", lambda _, state, rows: rng.normal(size=(len(rows), *answers)))
        bundle = SimpleNamespace(attention=lambda inputs: rng.dirichlet(np.ones(8), len(inputs)))
        monkeypatch.setattr(module, "bundle_of", lambda program, state: bundle)
        rows = program.examples("test")[:40]
        losses = np.where(np.arange(40) == 29, 9.0, rng.uniform(0, 1, 40))
        plots = plot_split(program, None, Evaluation({}, {}, rows, losses))
        return program, rows, {name: plot.draw() for name, plot in plots.items()}

    return draw


def answer_shape(spec):
    match spec.task:
        case Segmentation():
            return *spec.target.shape, spec.outputs
        case Reconstruction():
            return spec.input.shape
    return (spec.outputs,)


def tile(axes, number):
    """One of the images of 8x8 that are side by side, a line between them."""
    return np.asarray(axes.images[0].get_array())[:8, 9 * number : 9 * number + 8, 0]


def test_masks_begin_with_the_example_of_the_largest_loss(drawn):
    program, rows, figures = drawn("unet")
    assert list(figures) == ["masks"]
    assert [axes.get_title(loc="left") for axes in figures["masks"].axes] == ["input", "truth", "prediction"]
    truth = program.parts.source.read(rows[29:30])["targets"][0]
    shown = tile(figures["masks"].axes[1], 0)
    assert len(np.unique(shown)) == len(np.unique(truth)) == 2
    np.testing.assert_array_equal(shown == shown[truth == 0][0], truth == 0)
    assert "largest loss" in figures["masks"].get_suptitle()
    (legend,) = figures["masks"].legends
    assert [text.get_text() for text in legend.get_texts()] == list(program.parts.spec.classes)


def test_reconstructions_are_below_their_originals(drawn):
    program, rows, figures = drawn("autoencoder")
    assert list(figures) == ["reconstructions"]
    assert [axes.get_title(loc="left") for axes in figures["reconstructions"].axes] == [
        "original",
        "reconstruction",
    ]
    pictures = program.parts.source.read(rows[:FEW])["inputs"][..., 0].astype(np.float64)
    np.testing.assert_allclose(tile(figures["reconstructions"].axes[0], 1) * pictures.max(), pictures[1], atol=1e-5)


def test_a_model_that_attends_shows_where(drawn):
    _, rows, figures = drawn("attention_lstm")
    assert list(figures) == ["samples", "attention"]
    titles = [axes.get_title() for axes in figures["attention"].axes]
    assert [title for title in titles if title] == [f"example {row}" for row in rows[:PANELS]]
