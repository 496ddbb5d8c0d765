"""Where values lie on an axis: numbers, numbers over decades, texts."""

import numpy as np
import pytest

from dltrain.plots.decades import spans_decades
from dltrain.plots.scales import make_scale


def test_numbers_over_two_decades_are_on_a_log_scale():
    scale = make_scale("optim.learning_rate", [1e-4, 1e-3, None, 1e-2])
    assert scale.log and scale.at == pytest.approx([0, 0.5, np.nan, 1], nan_ok=True)
    assert [label for _, label in scale.ticks] == ["0.0001", "0.001", "0.01"]
    wide = make_scale("x", np.geomspace(1e-5, 1e-1, 40).tolist())
    assert [label for _, label in wide.ticks] == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]


def test_other_numbers_are_not():
    scale = make_scale("batch_size", [32, 64, 128])
    assert not scale.log and scale.at == pytest.approx([0, 1 / 3, 1])
    assert not spans_decades(np.array([-1.0, 1000.0])) and not spans_decades(np.array([0.0, 1000.0]))
    uniform = np.random.default_rng(0).uniform(0, 1, 200)
    assert uniform.max() > 100 * uniform.min() and not spans_decades(uniform)


def test_texts_are_categories_and_equal_values_are_in_the_middle():
    scale = make_scale("model", ["mlp", "cnn", None, "mlp"])
    assert scale.at == pytest.approx([1, 0, np.nan, 1], nan_ok=True)
    assert scale.ticks == ((0.0, "cnn"), (1.0, "mlp"))
    assert make_scale("x", [2.0, 2.0]).at.tolist() == [0.5, 0.5] == make_scale("x", ["a", "a"]).at.tolist()
