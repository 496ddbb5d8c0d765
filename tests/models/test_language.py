"""Trained from the command line on Shakespeare, language models predict letters that they have never seen.

The baseline looks at one letter only, counted by NumPy.
"""

from pathlib import Path

import numpy as np
import pytest

from dltrain.data.sources.characters import Characters

FOLDER = Path(__file__).parents[3] / "shared" / "data"
TEXT = FOLDER / "tinyshakespeare" / "input.txt"
WORDS = {  # what is typed; by how many nats a letter the loss must be below that of the counts; seen: 2.503
    "rnn": (("optim.learning_rate=0.002",), 0.04),  # - 0.092
    "lstm": (("optim.learning_rate=0.005",), 0.1),  # - 0.215
    "gru": (("optim.learning_rate=0.005",), 0.2),  # - 0.345
    "transformer": (("model.layers=2", "optim.learning_rate=0.002"), 0.04),  # - 0.087
}


@pytest.fixture(scope="module")
def pairs_loss():
    """The mean of `-log p(next | this)`, p counted over the training windows, each pair once more than seen."""
    if not TEXT.exists():
        pytest.skip("tinyshakespeare is not at hand")
    source = Characters(str(TEXT), test=0.1)
    held = {*source.published["validation"], *source.published["test"]}
    train = source.read(np.array([row for row in range(len(source)) if row not in held]))
    test = source.read(source.published["test"])
    counts = np.ones((len(source.spec.vocabulary),) * 2)
    np.add.at(counts, (train["inputs"].ravel(), train["targets"].ravel()), 1)
    p = counts / counts.sum(1, keepdims=True)
    return -np.log(p[test["inputs"], test["targets"]]).mean()


@pytest.mark.slow
@pytest.mark.parametrize("model", WORDS)
def test_a_language_model_beats_the_counts_of_pairs(model, trained, pairs_loss, tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", str(FOLDER))
    words, margin = WORDS[model]
    words = ("data=tinyshakespeare", "data.test=0.1", "epochs=1", "schedule=cosine", *words)
    assert trained(tmp_path / "run", f"model={model}", *words)["loss"] < pairs_loss - margin
