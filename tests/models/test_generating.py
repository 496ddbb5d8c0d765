"""Trained from the command line, models generate the right text for unseen examples."""

from pathlib import Path

import pytest

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"

WORDS = {  # what is typed; each must be right, from the first token to the last, about 95 % of the test set
    "reversed strings": ("data=reverse", "model=seq2seq", "optim.learning_rate=0.003", "epochs=4"),  # seen: 1.000
    "reversed strings, by attention": (
        "data=reverse",
        "model=seq2seq_transformer",
        "optim.learning_rate=0.001",
        "schedule=cosine",
        "epochs=2",
    ),  # seen: 0.9992
    "numbers": ("data=spell_numbers", "model=seq2seq", "optim.learning_rate=0.003", "epochs=10"),  # seen: 0.9995
    "captions": ("data=digit_captions", "model=captioner", "batch_size=128", "epochs=1"),  # seen: 0.972
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORDS)
def test_a_model_generates_it_exactly(name, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", str(MNIST.parent))
    if name == "captions" and not MNIST.is_dir():
        pytest.skip("MNIST is not at hand")
    assert trained(tmp_path / "run", *WORDS[name])["exact_match"] > 0.95
