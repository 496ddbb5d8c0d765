"""Vocabulary, lengths and buckets come from the training texts; whatever text comes later becomes valid numbers."""

import json

import numpy as np
import pytest

from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.data.vocabulary import SPECIAL, UNKNOWN, UNKNOWN_TOKEN
from dltrain.errors import ConfigError
from dltrain.types import Kind

TRAIN = ["the cat sat", "The dog sat down", "a cat", "the the end"]
LATER = ["", None, "   ", "unseen zebra 😀", "nul\0byte", "the " * 5000, "\ud800 alone", "Ünïcödé ﬁ ١٢٣", "\n\t\r"]
OPTIONS = {
    "words": TextOptions(),
    "characters": TextOptions(Tokens.CHARACTERS, min_count=1),
    "ngrams": TextOptions(Tokens.NGRAMS),
    "parts": TextOptions(Tokens.NGRAMS, vocabulary_size=50, character_ngrams=4),
    "cut": TextOptions(max_length=2, lowercase=False, min_count=1, vocabulary_size=6),
}


def test_words_are_numbered_by_how_often_they_occur():
    fitted = FittedTexts.fit(TRAIN, TextOptions())
    assert fitted.vocabulary == (*SPECIAL, UNKNOWN_TOKEN, "the", "cat", "sat")  # others occur once
    tokens, lengths = fitted.encode(["The cat ran", "sat"])
    assert tokens.tolist() == [[4, 5, UNKNOWN, 0], [6, 0, 0, 0]] and lengths.tolist() == [3, 1]
    assert tokens.dtype == lengths.dtype == np.int32


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_count": 1, "vocabulary_size": 7}, ("the", "cat", "sat")),
        ({"min_count": 4}, ("the",)),
        ({"min_count": 4, "lowercase": False}, ()),
        ({"tokens": Tokens.CHARACTERS, "min_count": 8}, (" ", "t")),
        ({"tokens": Tokens.CHARACTERS, "vocabulary_size": 5}, (" ",)),
    ],
)
def test_the_vocabulary_follows_its_options(options, expected):
    assert FittedTexts.fit(TRAIN, TextOptions(**options)).vocabulary[len(SPECIAL) + 1 :] == expected


def test_the_length_is_that_of_training_texts_without_the_extreme_ones():
    usual, extreme = ["a b c d"] * 99, ["w " * 1000]
    fitted = FittedTexts.fit([*usual, *extreme], TextOptions())
    assert (fitted.length, fitted.cut, fitted.seen) == (8, 1, 100)
    assert "1 of 100 training texts are longer and are cut" in fitted.describe()
    assert FittedTexts.fit(TRAIN, TextOptions()).length == 4
    assert FittedTexts.fit(TRAIN, TextOptions(max_length=3)).length == 3
    assert FittedTexts.fit(["", ""], TextOptions()).length == 1


def test_the_width_of_ngrams_leaves_out_characters_first():
    fitted = FittedTexts.fit(["one two", "one two"], TextOptions(Tokens.NGRAMS, character_ngrams=3))
    numbers, _ = fitted.encode(["one two"])
    assert numbers.shape == (1, fitted.width) and (numbers > 0).all()
    longer, _ = fitted.encode(["one two three"])  # cut to two words
    assert longer.tolist() == numbers.tolist()


@pytest.mark.parametrize("name", OPTIONS)
def test_any_text_becomes_valid_numbers_and_json_keeps_them(name):
    fitted = FittedTexts.fit(TRAIN, OPTIONS[name])
    again = FittedTexts.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.feature == fitted.feature
    for texts in (TRAIN, LATER):
        numbers, lengths = fitted.encode(texts)
        assert numbers.shape == (len(texts), *fitted.feature.shape)
        most = fitted.buckets if fitted.feature.kind is Kind.NGRAMS else len(fitted.vocabulary) - 1
        assert 0 <= numbers.min() <= numbers.max() <= most
        assert lengths.min() >= 1 and lengths.max() <= numbers.shape[1]
        assert not numbers[np.arange(numbers.shape[1]) >= lengths[:, None]].any()  # padding follows
        for one, other in zip((numbers, lengths), again.encode(texts), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": Tokens.NGRAMS, "min_count": 2}, r"data.min_count=2: counts words and characters"),
        ({"character_ngrams": 5}, r"data.character_ngrams=5: belongs to data.tokens=ngrams"),
        ({"vocabulary_size": 4}, r"data.vocabulary_size=4: leaves no room for tokens besides <pad>"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TextOptions(**options)
