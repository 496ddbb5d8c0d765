"""What is fitted on the texts of the training examples, and how it turns texts into arrays."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from dltrain.data.texts.cut import characters, in_buckets, ngrams, normalised, words
from dltrain.data.texts.subwords import Subwords
from dltrain.data.vocabulary import PAD, SPECIAL, UNKNOWN, UNKNOWN_TOKEN
from dltrain.errors import ConfigError
from dltrain.ranges import Size
from dltrain.types import Feature, Kind


class Tokens(StrEnum):
    """What a text is cut into."""

    WORDS = "words"
    CHARACTERS = "characters"
    SUBWORDS = "subwords"
    NGRAMS = "ngrams"  # hashed words, pairs of words, and characters inside words


MOST = {Tokens.WORDS: 20_000, Tokens.CHARACTERS: 2_000, Tokens.SUBWORDS: 4_000, Tokens.NGRAMS: 1 << 18}
"""Size of the vocabulary where none is given; of n-grams the largest number of buckets."""
FEWEST_BUCKETS = 1 << 10
LEAST = 2
"""Default of `min_count`: a word that occurs once cannot be told from chance, and trains the unknown token."""


@dataclass(frozen=True)
class TextOptions:
    """How texts are cut; None leaves a value to the training texts.

    Attributes:
        tokens: what a text is cut into.
        vocabulary_size: most tokens, with the special ones; of n-grams the number of buckets.
        min_count: how often a word or character must occur in the training texts to have a number of its own.
        lowercase: whether `A` and `a` are the same.
        character_ngrams: of n-grams, the longest run of characters inside a word that counts; None: none.
        max_length: most tokens of a text, of n-grams most words; the rest is cut off. None: the longest training
            text, but at most twice the length that 95 % of them do not exceed.
    """

    tokens: Tokens = Tokens.WORDS
    vocabulary_size: Size | None = None
    min_count: Size | None = None
    lowercase: bool = True
    max_length: Size | None = None
    character_ngrams: int | None = None

    def __post_init__(self) -> None:
        """Refuse options that would change nothing."""
        if self.min_count is not None and self.tokens in (Tokens.SUBWORDS, Tokens.NGRAMS):
            raise ConfigError(
                f"data.min_count={self.min_count}: counts words and characters, and data.tokens={self.tokens} has "
                "no such limit; leave it out"
            )
        if self.character_ngrams is not None and self.tokens is not Tokens.NGRAMS:
            raise ConfigError(
                f"data.character_ngrams={self.character_ngrams}: belongs to data.tokens=ngrams, and here "
                f"data.tokens={self.tokens}; leave it out"
            )
        if (
            self.tokens is not Tokens.NGRAMS
            and self.vocabulary_size is not None
            and self.vocabulary_size <= len(SPECIAL) + 1
        ):
            raise ConfigError(
                f"data.vocabulary_size={self.vocabulary_size}: leaves no room for tokens besides "
                f"{', '.join((*SPECIAL, UNKNOWN_TOKEN))}"
            )


@dataclass(frozen=True)
class FittedTexts:
    """A column of texts as it was fitted on the training examples: a vocabulary, or a number of buckets.

    Attributes:
        tokens: what a text is cut into.
        lowercase: whether `A` and `a` are the same.
        length: tokens that are kept of a text.
        vocabulary: the tokens in the order of their numbers; empty for n-grams.
        buckets: of n-grams, the number of different hashes.
        character_ngrams: of n-grams, the longest run of characters that counts.
        width: of n-grams, how many are kept of a text.
        subwords: the sentencepiece model, for subwords.
        cut: number of training texts that were longer.
        seen: number of training texts.
    """

    tokens: Tokens
    lowercase: bool
    length: int
    vocabulary: tuple[str, ...] = ()
    buckets: int = 0
    character_ngrams: int | None = None
    width: int = 0
    subwords: Subwords | None = None
    cut: int = 0
    seen: int = 0

    @classmethod
    def fit(cls, texts: Sequence[str], options: TextOptions) -> "FittedTexts":
        """Fit on the training texts.

        Raises:
            ConfigError: sentencepiece is needed and missing, or the vocabulary is too small for it.
        """
        plain = [normalised(text, lowercase=options.lowercase) for text in texts]
        size, given = options.vocabulary_size or MOST[options.tokens], {}
        if options.tokens is Tokens.SUBWORDS:
            given["subwords"] = model = Subwords.train(plain, size=size)
            given["vocabulary"] = (*SPECIAL, UNKNOWN_TOKEN, *model.pieces)
            pieces: list[Sequence[Any]] = [model.cut(text) for text in plain]
        else:
            pieces = [CUT[options.tokens](text) for text in plain]
        lengths = np.array([len(tokens) for tokens in pieces] or [0])
        length = options.max_length or _length(lengths)
        if options.tokens is Tokens.NGRAMS:
            given |= _fit_ngrams(pieces, length, options)
        elif options.tokens is not Tokens.SUBWORDS:
            given["vocabulary"] = _vocabulary(pieces, size, options.min_count or LEAST)
        about = {"cut": int((lengths > length).sum()), "seen": len(texts)}
        return cls(options.tokens, options.lowercase, length, **given, **about)

    @property
    def feature(self) -> Feature:
        """The tokens of a text as an input of a model."""
        if self.tokens is Tokens.NGRAMS:
            return Feature(Kind.NGRAMS, (self.width,), "int32", buckets=self.buckets)
        return Feature(Kind.TOKENS, (self.length,), "int32", vocabulary=self.vocabulary)

    def encode(self, texts: Iterable[str | None]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the tokens, int32 [N, L], and how many each text has, int32 [N].

        Padding is 0 and follows the tokens. A text without any, or None, is one unknown token; as n-grams it has
        none, and the length 1 all the same.
        """
        rows = [self.numbers(text or "") for text in texts]
        found = np.full((len(rows), *self.feature.shape), PAD, np.int32)
        for place, row in zip(found, rows, strict=True):
            place[: len(row)] = row
        return found, np.array([max(1, len(row)) for row in rows], np.int32)

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of one text's tokens, at most `length` tokens of it."""
        text = normalised(text, lowercase=self.lowercase)
        if self.subwords:
            first = len(SPECIAL) + 1
            return [max(UNKNOWN, first + n) for n in self.subwords.cut(text)[: self.length]] or [UNKNOWN]
        tokens = CUT[self.tokens](text)[: self.length]
        if self.tokens is Tokens.NGRAMS:
            return in_buckets(ngrams(tokens, self.character_ngrams)[: self.width], self.buckets)
        return [self._numbers.get(token, UNKNOWN) for token in tokens] or [UNKNOWN]

    def describe(self) -> str:
        """Say what was fitted, in one line."""
        known = f"{self.buckets:,} buckets" if self.buckets else f"{len(self.vocabulary):,} different"
        cut = f"; {self.cut:,} of {self.seen:,} training texts are longer and are cut" if self.cut else ""
        unit = "words" if self.tokens is Tokens.NGRAMS else str(self.tokens)
        return f"{self.tokens} ({known}), at most {self.length} {unit} of a text{cut}"

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary)}

    def to_json(self) -> dict[str, Any]:
        """Return what was fitted, in values that JSON holds."""
        return {
            "tokens": str(self.tokens),
            "lowercase": self.lowercase,
            "length": self.length,
            "vocabulary": [] if self.subwords else list(self.vocabulary),
            "buckets": self.buckets,
            "character_ngrams": self.character_ngrams,
            "width": self.width,
            "subwords": self.subwords.to_json() if self.subwords else None,
            "cut": self.cut,
            "seen": self.seen,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "FittedTexts":
        """Rebuild what `to_json` returned."""
        subwords = Subwords.from_json(saved["subwords"]) if saved["subwords"] else None
        vocabulary = (*SPECIAL, UNKNOWN_TOKEN, *subwords.pieces) if subwords else tuple(saved["vocabulary"])
        names = ("lowercase", "length", "buckets", "character_ngrams", "width", "cut", "seen")
        plain = {name: saved[name] for name in names}
        return cls(Tokens(saved["tokens"]), vocabulary=vocabulary, subwords=subwords, **plain)


CUT: Mapping[Tokens, Callable[[str], list[str]]] = {
    Tokens.WORDS: words,
    Tokens.NGRAMS: words,
    Tokens.CHARACTERS: characters,
}


def _vocabulary(texts: Iterable[Sequence[str]], size: int, least: int) -> tuple[str, ...]:
    """List the special tokens, and then the most frequent ones, equally frequent ones sorted."""
    counts = Counter(token for tokens in texts for token in tokens)
    often = sorted((token for token, count in counts.items() if count >= least), key=lambda t: (-counts[t], t))
    return (*SPECIAL, UNKNOWN_TOKEN, *often[: size - len(SPECIAL) - 1])


def _fit_ngrams(texts: Iterable[Sequence[str]], length: int, options: TextOptions) -> dict[str, Any]:
    """Count n-grams; the number of buckets is a power of two, with about one n-gram of the training texts each."""
    distinct, counts = set(), [1]
    for tokens in texts:
        found = ngrams(tokens[:length], options.character_ngrams)
        distinct.update(found)
        counts.append(len(found))
    buckets = min(MOST[Tokens.NGRAMS], max(FEWEST_BUCKETS, 1 << (len(distinct) - 1).bit_length()))
    given = {"width": _length(np.array(counts)), "character_ngrams": options.character_ngrams}
    return given | {"buckets": options.vocabulary_size or buckets}


def _length(lengths: np.ndarray) -> int:
    most = 2 * np.percentile(lengths, 95, method="higher")
    return max(1, int(min(lengths.max(), most)))
