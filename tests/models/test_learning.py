"""Trained from the command line on real data, every model beats the linear or the majority baseline by a margin.

What needs no labels has baselines of its own, in test_generative_digits.py; what writes more than a caption is in
test_generating.py.
"""

import json
import random
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
    "realmlp": (("optim.learning_rate=0.02",), 0.025),  # + 0.042
    "tabm": ((), 0.01),  # + 0.020
}
OF_TEXTS = {  # epochs, and by how much its accuracy must be ahead of 1/2
    "textcnn": (25, 0.25),  # + 0.375
    "bag_of_ngrams": (40, 0.12),  # + 0.238
}
OF_SERIES = {  # what is typed; its mean squared error must be below that of the last season, 0.065
    "rlinear": ("epochs=10",),  # 0.033
    "nlinear": ("epochs=10",),  # 0.059
    "dlinear": ("epochs=10",),  # 0.052
    "sparse_tsf": ("epochs=100", "optim.learning_rate=0.02", "model.period=12"),
    "patchtst": ("epochs=25", "optim.learning_rate=0.002"),  # 0.038
}


def test_every_model_is_trained_somewhere_here():
    here = Path(__file__)
    files = (here, here.with_name("test_generative_digits.py"), here.with_name("test_generating.py"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    assert {*AHEAD, *OF_TEXTS, *OF_SERIES, "auto", *re.findall(r'"model=(\w+)"', "".join(texts))} == set(
        read_tree((packaged(),))["model"]
    )


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


@pytest.mark.slow
@pytest.mark.parametrize("model", OF_TEXTS)
def test_a_model_of_texts_sees_which_word_is_denied(model, trained, tmp_path):
    """A class depends on a good or a bad word, and in three of ten texts on a "not" before it."""
    rng = random.Random(0)
    with (tmp_path / "reviews.tsv").open("w") as file:
        file.write("text\tlabel\n")
        for _ in range(400):
            good, denied = rng.random() < 0.5, rng.random() < 0.3
            words = [rng.choice("the a film plot cast scene story was is with and very".split()) for _ in range(8)]
            word = rng.choice(
                ["fine", "great", "lovely", "superb"] if good != denied else ["poor", "dull", "awful"]
            )
            place = rng.randrange(8)
            words[place:place] = ["not" if denied else "so", word]
            file.write(f"{' '.join(words)}\t{'up' if good else 'down'}\n")
    epochs, margin = OF_TEXTS[model]
    data = ("data=text", f"data.path={tmp_path}/reviews.tsv", "data.text=text", "data.target=label")
    assert trained(tmp_path / "run", *data, f"model={model}", f"epochs={epochs}")["accuracy"] > 0.5 + margin


@pytest.mark.slow
@pytest.mark.parametrize("model", OF_SERIES)
def test_a_model_of_series_is_better_than_the_last_season(model, trained, tmp_path):
    rng = np.random.default_rng(0)
    t = np.arange(600)
    wave = 2 * np.pi * t / 12
    values = np.stack([10 + 3 * np.sin(wave) + 0.01 * t, np.cos(wave)], 1) + rng.normal(0, [0.2, 0.1], (600, 2))
    np.savetxt(tmp_path / "waves.csv", values, delimiter=",", header="load,heat", comments="")
    data = ("data=series", f"data.path={tmp_path}/waves.csv", "data.look_back=36", "data.horizon=6")
    trained(tmp_path / "run", *data, "data.season=12", f"model={model}", *OF_SERIES[model])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    found = summary["best"]["test"] if "best" in summary else summary["test"]
    assert found["mse"] < summary["baselines"]["test"]["last season"]["mse"]
