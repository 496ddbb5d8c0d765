"""Cuts a text into words, characters, or hashed n-grams."""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word with the apostrophes inside it, or one sign: punctuation, an emoji, a control character."""

SHORTEST = 3  # characters of a character n-gram


def normalised(text: str, *, lowercase: bool) -> str:
    """Return the text in Unicode's composed form (NFC), so that equal letters are equal tokens."""
    text = unicodedata.normalize("NFC", text)
    return text.lower() if lowercase else text


def words(text: str) -> list[str]:
    """Return the words and signs of a text, in order."""
    return WORD.findall(text)


def characters(text: str) -> list[str]:
    """Return the characters of a text, in order."""
    return list(text)


def ngrams(tokens: Sequence[str], longest: int | None) -> list[int]:
    """Return the CRC-32 of each word, of each pair of neighbours, and of the character n-grams of each word.

    That of a pair is the CRC of the UTF-8 text `one two`. The character n-grams of `word` are the runs of 3 to
    `longest` characters of `<word>`, without the whole (Bojanowski et al. 2017, arXiv:1607.04606); None for none. A
    CRC is the same on every machine and in every process, unlike Python's own hash.
    """
    encoded = [token.encode("utf-8", "surrogatepass") for token in tokens]
    single = [zlib.crc32(token) for token in encoded]
    pairs = [zlib.crc32(b" " + after, value) for value, after in zip(single, encoded[1:], strict=False)]
    inside = [value for token in tokens for value in _inside(token, longest)] if longest else []
    return [*single, *pairs, *inside]


@lru_cache(maxsize=1 << 16)  # most words occur many times
def _inside(token: str, longest: int) -> tuple[int, ...]:
    whole = f"<{token}>"
    runs = (whole[i : i + n] for n in range(SHORTEST, longest + 1) for i in range(len(whole) - n + 1))
    return tuple(zlib.crc32(run.encode("utf-8", "surrogatepass")) for run in runs if run != whole)


def in_buckets(hashes: Iterable[int], buckets: int) -> list[int]:
    """Return a number from 1 to `buckets` for each hash; 0 is left for padding."""
    return [1 + value % buckets for value in hashes]
