"""Weights learned without labels start a classifier: they are copied exactly, layer by layer."""

import numpy as np
import pytest

from dltrain.runs import checkpoint

pytestmark = pytest.mark.usefixtures("unoptimised", "without_figures")

STILL = ("optim=sgd", "optim.learning_rate=1e-30", "steps=1")  # moves no weight by as much as its last bit


@pytest.fixture
def run(dltrain, tmp_path):
    """Train on the irises and return the final state's leaves."""

    def train(name, *words):
        result = dltrain("data=iris", "quiet=true", f"output_dir={tmp_path / name}", *words)
        assert result.code == 0, result.err
        return checkpoint.load_last(tmp_path / name / "checkpoints", warn=print).leaves

    return train


def agree(found, expected, *layers):
    for layer in layers:
        for part in ("kernel", "bias"):
            name = f"params.hidden.{layer}.{part}"
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.slow
def test_an_autoencoders_encoder_begins_an_mlp(run, tmp_path):
    learned = run("under", "model=autoencoder", "model.widths=[6]", "model.code=3", "steps=2")
    mlp = run("over", "model=mlp", "model.widths=[6,3]", f"init_from={tmp_path / 'under'}", *STILL)
    agree(mlp, learned, 0, 1)


@pytest.mark.slow
def test_a_stack_of_boltzmann_machines_is_trained_from_below_and_begins_an_mlp(run, tmp_path):
    first = run("first", "model=rbm", "model.widths=[6]", "steps=2")
    second = run("second", "model=rbm", "model.widths=[6,3]", f"init_from={tmp_path / 'first'}", "steps=2")
    agree(second, first, 0)
    np.testing.assert_array_equal(second["params.visible.0"], first["params.visible.0"])
    assert np.any(second["params.visible.1"])
    sigmoids = ("model=mlp", "model.widths=[6,3]", "model.activation=sigmoid", "data.scale=unit")
    mlp = run("over", *sigmoids, f"init_from={tmp_path / 'second'}", *STILL)
    agree(mlp, second, 0, 1)


def test_a_scaling_that_the_model_or_loss_cannot_take_is_refused(dltrain):
    result = dltrain("model=rbm", "data.scale=standard")
    assert result.code == 2
    assert "data.scale=standard: this model and loss need data.scale=unit" in result.err
    result = dltrain("model=autoencoder", "loss=binary_cross_entropy", "data.scale=symmetric")
    assert result.code == 2
    assert "need data.scale=unit" in result.err
