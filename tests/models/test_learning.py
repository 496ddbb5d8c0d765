"""Trained from the command line, each of these models beats softmax regression on the digits."""

import json

import pytest

WORDS = {  # what is typed, and by how much its accuracy on the test set must be ahead
    "perceptron": (("loss=perceptron", "optim=sgd", "optim.learning_rate=0.1"), 0.005),  # seen: 0.017
    "maxout": ((), 0.02),  # seen: 0.036
    "locally_connected": ((), 0.02),  # seen: 0.033
    "resnet20": (("epochs=8", "schedule=cosine", "optim.learning_rate=0.003"), 0.02),  # seen: 0.042
    "rnn": ((), 0.015),  # seen: 0.031
    "gru": ((), 0.015),  # seen: 0.031
}


def accuracy(dltrain, folder, *words):
    said = dltrain(*words, "quiet=true", f"output_dir={folder}")
    assert said.code == 0, said.err
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["test"]["accuracy"]


@pytest.fixture(scope="module")
def baseline(dltrain, tmp_path_factory):
    """Softmax regression; seen: 0.944."""
    return accuracy(dltrain, tmp_path_factory.mktemp("linear") / "run", "model=linear")


@pytest.mark.slow
@pytest.mark.parametrize("model", WORDS)
def test_a_model_beats_softmax_regression_on_the_digits(model, dltrain, baseline, tmp_path):
    words, margin = WORDS[model]
    assert accuracy(dltrain, tmp_path / "run", f"model={model}", *words) > baseline + margin
