"""Trained from the command line on real data, every model beats the linear or the majority baseline by a margin.

What needs no labels has baselines of its own, in test_generative_digits.py; what writes more than a caption is in
test_generating.py.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from dltrain.config.folders import packaged, read_tree
from dltrain.data.sources.embedded import load_embedded
from dltrain.data.split import make_splits

DEEP = ("schedule=cosine", "optim.learning_rate=0.003")
AHEAD = {  # what is typed, and by how much its accuracy on the test set of the digits must be ahead; seen: 0.944
    "perceptron": (("loss=perceptron", "optim=sgd", "optim.learning_rate=0.1"), 0.005),  # + 0.017
    "mlp": ((), 0.02),  # + 0.033
    "maxout": ((), 0.02),  # + 0.036
    "cnn": ((), 0.03),  # + 0.050
    "convnet": (("epochs=8",), 0.02),  # + 0.039
    "lenet": (("model.padding=same",), 0.02),  # + 0.039; 8x8 is too small for two valid 5x5
    "locally_connected": ((), 0.02),  # + 0.033
    "resnet20": (("epochs=8", *DEEP), 0.02),  # + 0.042
    "resnet32": (("epochs=6", *DEEP), 0.02),  # + 0.033
    "resnet56": (("epochs=5", *DEEP), 0.015),  # + 0.031
    "resnet18": (("model.channels=[16,32,64,128]", "epochs=6", *DEEP), 0.015),  # + 0.031; narrower, for a CPU
    "rnn": ((), 0.015),  # + 0.031
    "lstm": (("optim.learning_rate=0.003",), 0.015),  # + 0.031
    "gru": ((), 0.015),  # + 0.031
    "attention_lstm": (("optim.learning_rate=0.003",), 0.01),  # + 0.022
    "transformer": ((), 0.02),  # + 0.042
}


def test_every_model_is_trained_somewhere_here():
    here = Path(__file__)
    files = (here, here.with_name("test_generative_digits.py"), here.with_name("test_generating.py"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    assert {*AHEAD, *re.findall(r'"model=(\w+)"', "".join(texts))} == set(read_tree((packaged(),))["model"])


@pytest.fixture(scope="module")
def baseline(trained, tmp_path_factory):
    """Softmax regression on the digits."""
    return trained(tmp_path_factory.mktemp("linear") / "run", "model=linear")["accuracy"]


@pytest.mark.slow
def test_softmax_regression_beats_the_largest_class(baseline):
    source = load_embedded("digits")
    labels = source.read(np.arange(len(source)))["targets"]
    splits = make_splits(labels, len(source), published={}, validation=0.1, test=0.2, seed=0)
    majority = (labels[splits.test] == np.bincount(labels[splits.train]).argmax()).mean()
    assert baseline > majority + 0.8  # + 0.844


@pytest.mark.slow
@pytest.mark.parametrize("model", AHEAD)
def test_a_model_beats_softmax_regression_on_the_digits(model, trained, baseline, tmp_path):
    words, margin = AHEAD[model]
    assert trained(tmp_path / "run", f"model={model}", *words)["accuracy"] > baseline + margin


@pytest.mark.slow
def test_a_captioner_is_right_more_often_than_softmax_regression(trained, baseline, tmp_path):
    """A caption is right for one digit only, so a right caption means that the digit is recognized."""
    found = trained(tmp_path / "run", "model=captioner", "data=small_captions")
    assert found["exact_match"] > baseline + 0.02  # + 0.042
