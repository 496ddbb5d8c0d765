"""Attributions of a text's tokens, as people read them: n-grams are divided among their words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dltrain.data.texts.cut import ngrams, normalised
from dltrain.data.texts.fitted import CUT, FittedTexts, Tokens
from dltrain.data.vocabulary import PAD
from dltrain.types import Feature, Kind


@dataclass(frozen=True)
class TextAttribution:
    """Attributions of the tokens of one text.

    Attributes:
        feature: the input.
        tokens: the words, characters or pieces, in order.
        values: the attribution of each, float64 [tokens].
        padding: what is attributed to padding, by models that see it.
        known: whether each token is in the vocabulary, bool [tokens].
        attention: the weight of each token, of a model that has attention; else empty.
    """

    feature: str
    tokens: tuple[str, ...]
    values: np.ndarray
    padding: float
    known: np.ndarray
    attention: np.ndarray


@dataclass(frozen=True)
class Pieces:
    """Tokens of a text as people read them.

    Attributes:
        tokens: in order.
        shares: how much of each place of the array belongs to each token, float [places, tokens].
        known: whether each token has a number of its own.
    """

    tokens: tuple[str, ...]
    shares: np.ndarray
    known: np.ndarray


def attribution_of(
    feature_name: str, values: np.ndarray, pieces: Pieces, attention: np.ndarray | None = None
) -> TextAttribution:
    """Return the attributions of tokens from those of the places of the array, [L]; the rest is padding."""
    values, shares = values.astype(np.float64), pieces.shares
    seen = len(shares)
    weights = np.zeros(0) if attention is None else attention[:seen].astype(np.float64) @ shares
    rest = float(values[seen:].sum())
    return TextAttribution(feature_name, pieces.tokens, values[:seen] @ shares, rest, pieces.known, weights)


def pieces_of(
    numbers: np.ndarray, feature: Feature, *, length: int | None, text: str | None, fitted: FittedTexts | None
) -> Pieces:
    """Return the tokens of one text.

    Args:
        numbers: its array, int [L].
        feature: the input.
        length: number of its tokens; None: all that are not padding.
        text: the text itself, where it is at hand; unknown words are then shown as they are written.
        fitted: how it was cut.
    """
    if feature.kind is Kind.NGRAMS:
        return _of_ngrams(numbers, text, fitted)
    count = int((numbers != PAD).sum()) if length is None else int(length)
    names = [_named(number, feature.vocabulary) for number in numbers[:count]]
    known = np.array([not name.startswith("<") or len(name) < 3 for name in names], bool)
    if text is not None and fitted is not None and fitted.subwords is None:
        cut = CUT[fitted.tokens](normalised(text, lowercase=fitted.lowercase))[:count]
        names = cut if len(cut) == count else names
    return Pieces(tuple(names), np.eye(count), known)


def _of_ngrams(numbers: np.ndarray, text: str | None, fitted: FittedTexts | None) -> Pieces:
    """Divide n-grams among words: a pair of words equally, a run of characters goes to its word."""
    filled = int((numbers != PAD).sum())
    if text is None or fitted is None or fitted.tokens is not Tokens.NGRAMS:
        names = tuple(f"#{number}" for number in numbers[:filled])
        return Pieces(names, np.eye(filled), np.ones(filled, bool))
    words = CUT[fitted.tokens](normalised(text, lowercase=fitted.lowercase))[: fitted.length]
    members: list[Sequence[int]] = [(i,) for i in range(len(words))]
    members += [(i, i + 1) for i in range(len(words) - 1)]
    for i, word in enumerate(words if fitted.character_ngrams else ()):
        members += [(i,)] * (len(ngrams([word], fitted.character_ngrams)) - 1)
    shares = np.zeros((filled, len(words)))
    for place, owners in enumerate(members[:filled]):
        shares[place, list(owners)] = 1 / len(owners)
    return Pieces(tuple(words), shares, np.ones(len(words), bool))


def _named(number: int, vocabulary: Sequence[str]) -> str:
    return vocabulary[number] if 0 <= number < len(vocabulary) else f"#{number}"
