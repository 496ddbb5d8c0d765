"""Cuts a text into words, characters, or hashed n-grams."""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word with the apostrophes inside it, or one sign: punctuation, an emoji, a control character."""


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


def ngrams(tokens: Sequence[str]) -> list[int]:
    """Return the CRC-32 of each word, and then of each pair of neighbours, as of their UTF-8 text `one two`.

    A CRC is the same on every machine and in every process, unlike Python's own hash.
    """
    encoded = [token.encode("utf-8", "surrogatepass") for token in tokens]
    single = [zlib.crc32(token) for token in encoded]
    return [*single, *(zlib.crc32(b" " + after, value) for value, after in zip(single, encoded[1:], strict=False))]


def in_buckets(hashes: Iterable[int], buckets: int) -> list[int]:
    """Return a number from 1 to `buckets` for each hash; 0 is left for padding."""
    return [1 + value % buckets for value in hashes]
