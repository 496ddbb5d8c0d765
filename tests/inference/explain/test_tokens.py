"""Attributions of n-grams and tokens are shown as words, and nothing of them is lost."""

import numpy as np

from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.inference.explain.tokens import attribution_of, pieces_of

TEXTS = ["the good film", "a bad film and a dull one", "good"]


def test_ngrams_are_divided_among_their_words():
    fitted = FittedTexts.fit(TEXTS, TextOptions(Tokens.NGRAMS, character_ngrams=4))
    numbers, _ = fitted.encode(TEXTS)
    values = np.random.default_rng(0).normal(size=numbers.shape)
    values[numbers == 0] = 0
    about = {"length": None, "fitted": fitted}
    for text, row, value in zip(TEXTS, numbers, values, strict=True):
        found = attribution_of("text", value, pieces_of(row, fitted.feature, text=text, **about))
        assert found.tokens == tuple(text.split()) and found.padding == 0
        np.testing.assert_allclose(found.values.sum(), value.sum())
    first = attribution_of("text", values[0], pieces_of(numbers[0], fitted.feature, text=TEXTS[0], **about))
    inside = values[0][5:]  # runs of characters: <the> has 3, 4: <th the he> <the the>
    np.testing.assert_allclose(first.values[0], values[0][0] + values[0][3] / 2 + inside[:5].sum())


def test_words_show_unknown_ones_as_they_are_written():
    fitted = FittedTexts.fit([*TEXTS, *TEXTS], TextOptions(Tokens.WORDS))
    numbers, lengths = fitted.encode(["good ZEBRA film"])
    values = np.arange(numbers.shape[1], dtype=float)
    about = {"length": int(lengths[0]), "fitted": fitted}
    found = attribution_of("tokens", values, pieces_of(numbers[0], fitted.feature, text="good ZEBRA film", **about))
    assert found.tokens == ("good", "zebra", "film") and found.known.tolist() == [True, False, True]
    assert found.values.tolist() == [0, 1, 2] and found.padding == values[3:].sum()
    without = pieces_of(numbers[0], fitted.feature, text=None, **about)
    assert without.tokens == ("good", "<unknown>", "film")
