"""Subwords are learned from the training texts; the model travels in JSON."""

import builtins
import json

import pytest

from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.data.texts.subwords import Subwords
from dltrain.data.vocabulary import SPECIAL, UNKNOWN, UNKNOWN_TOKEN
from dltrain.errors import ConfigError, DataError

TRAIN = ["the cat sat on the mat", "the hat of the cat\nand a second line", "that mat", "", "café"] * 3


@pytest.fixture
def fitted():
    pytest.importorskip("sentencepiece", reason="subwords need it: pip install '.[text]'")
    return FittedTexts.fit(TRAIN, TextOptions(Tokens.SUBWORDS, vocabulary_size=300))


def test_texts_are_cut_and_unseen_characters_become_bytes(fitted):
    words = fitted.vocabulary
    assert words[: len(SPECIAL) + 1] == (*SPECIAL, UNKNOWN_TOKEN) and "▁the" in words
    tokens, lengths = fitted.encode(["the the", "z😀", "nul\0", ""])
    assert [words[n] for n in tokens[0, :2]] == ["▁the", "▁the"] and lengths[0] == 2
    assert [words[n] for n in tokens[1, : lengths[1]]][-4:] == ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]
    assert tokens[3, 0] == UNKNOWN and lengths[3] == 1
    assert tokens.max() < len(words)


def test_json_keeps_the_model_and_training_again_gives_the_same(fitted):
    saved = json.dumps(fitted.to_json())
    again = FittedTexts.from_json(json.loads(saved))
    assert again.feature == fitted.feature
    assert (again.encode(TRAIN)[0] == fitted.encode(TRAIN)[0]).all()
    repeated = FittedTexts.fit(TRAIN, TextOptions(Tokens.SUBWORDS, vocabulary_size=300))
    assert repeated.vocabulary == fitted.vocabulary


def test_too_small_a_vocabulary_and_a_damaged_model_are_refused(fitted):
    with pytest.raises(ConfigError, match=r"data.vocabulary_size=100: too small for subwords: these texts have"):
        FittedTexts.fit(TRAIN, TextOptions(Tokens.SUBWORDS, vocabulary_size=100))
    with pytest.raises(DataError, match=r"the sentencepiece model of this run, in model\.json, is damaged"):
        Subwords(b"nonsense")


def test_without_the_library_a_message_says_what_to_install(monkeypatch):
    plain = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "sentencepiece":
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"needs sentencepiece, .* pip install 'dltrain\[text\]'"):
        FittedTexts.fit(TRAIN, TextOptions(Tokens.SUBWORDS))
