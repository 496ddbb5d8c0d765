"""Pairs of texts, a source and a target to generate from it: from a file, or made by rules."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np

from dltrain.data.sources.files import read_file
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.data.vocabulary import SPECIAL, decoder_arrays, make_vocabulary, numbered, padded
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Range, Seed, Size
from dltrain.types import Kind


class Tokens(StrEnum):
    """How a text is split into tokens."""

    CHARACTERS = "characters"
    WORDS = "words"  # at white space


def make_pairs(sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> Rows:
    """Make a source of pairs of texts in memory, padded to the longest, with one vocabulary for both sides.

    The inputs are the `source [L]`, its `length`, and the `tokens` of the target that a decoder is fed.

    Args:
        sources: tokens of each source.
        targets: tokens of each target.
    """
    vocabulary = make_vocabulary([*sources, *targets])
    decoded = decoder_arrays(numbered(targets, vocabulary))
    inputs = {
        "source": padded(numbered(sources, vocabulary)),
        "length": np.array([len(source) for source in sources], np.int32),
        "tokens": decoded.pop("tokens"),
    }
    kinds = {"source": Kind.TOKENS, "length": Kind.LENGTH, "tokens": Kind.DECODER_TOKENS}
    return make_rows({"inputs": inputs, **decoded}, kind=kinds, vocabulary=vocabulary)


def from_file(path: str, *, tokens: Tokens = Tokens.CHARACTERS, longest: Size = 100) -> Rows:
    """Read a UTF-8 file of lines `source<TAB>target`.

    Args:
        path: the file.
        tokens: characters, or words.
        longest: largest number of tokens on either side; texts are padded to the longest that occurs.

    Raises:
        DataError: the file cannot be read, or a line is not such a pair; the message names its number.
    """
    content = read_file(Path(path).expanduser()).removeprefix(b"\xef\xbb\xbf")  # the byte order mark
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    if not lines:
        raise DataError(f"data.path={path}: is empty; expected lines source<TAB>target")
    sides = [_split_line(line, f"{path}, line {n}", Tokens(tokens), longest) for n, line in enumerate(lines, 1)]
    return make_pairs([source for source, _ in sides], [target for _, target in sides])


def _split_line(line: bytes, where: str, tokens: Tokens, longest: int) -> list[list[str]]:
    """Return the tokens of both sides."""
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    texts = text.split("\t")
    if len(texts) != 2:
        raise DataError(f"{where}: expected source<TAB>target, found {len(texts) - 1} tabs")
    sides = [side.split() if tokens is Tokens.WORDS else list(side) for side in texts]
    for name, side in zip(("source", "target"), sides, strict=True):
        if not side:
            raise DataError(f"{where}: the {name} is empty")
        if len(side) > longest:
            raise DataError(
                f"{where}: the {name} has {len(side)} {tokens}, more than data.longest={longest}; raise it, or "
                "leave the line out"
            )
        if taken := set(side) & set(SPECIAL):
            raise DataError(f"{where}: {taken.pop()} is a special token of dltrain; replace it in the text")
    return sides


def reversal(
    examples: Size = 20_000,
    *,
    letters: str = "abcdefghijklmnopqrstuvwxyz",
    shortest: Size = 4,
    longest: Size = 10,
    seed: Seed = 0,
) -> Rows:
    """Make different strings of random letters, each paired with its reversal.

    Args:
        examples: number of strings.
        letters: the letters to draw from.
        shortest: length of the shortest string; all lengths up to `longest` are equally likely.
        longest: length of the longest string.
        seed: seed of the random numbers, not of the run.
    """
    if shortest > longest:
        raise ConfigError(f"data.shortest={shortest} data.longest={longest}: expected shortest ≤ longest")
    if len(set(letters)) != len(letters) or not letters:
        raise ConfigError(f"data.letters={letters}: expected different letters")
    fewest = len(letters) ** shortest
    if examples > fewest:  # the rarest length must not run out of strings
        raise ConfigError(
            f"data.examples={examples}: expected 1..{fewest}, the number of strings of {shortest} letters"
        )
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < examples:
        lengths = rng.integers(shortest, longest + 1, examples)
        drawn = rng.integers(len(letters), size=(examples, longest))
        found |= {"".join(letters[i] for i in string[:n]): None for string, n in zip(drawn, lengths, strict=True)}
    strings = list(found)[:examples]
    return make_pairs(strings, [string[::-1] for string in strings])


def number_names(
    examples: Size = 10_000, *, largest: Annotated[int, Range(0, 999_999)] = 9_999, seed: Seed = 0
) -> Rows:
    """Make different whole numbers from 0, in digits, each paired with its English name.

    Args:
        examples: number of pairs.
        largest: the largest of them, below a million.
        seed: seed of the random numbers, not of the run.
    """
    if examples > largest + 1:
        raise ConfigError(
            f"data.examples={examples}: expected 1..{largest + 1}, as there are {largest + 1} numbers"
        )
    numbers = np.random.default_rng(seed).permutation(largest + 1)[:examples].tolist()
    return make_pairs([str(n) for n in numbers], [name_of(n).split() for n in numbers])


SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def name_of(number: int) -> str:
    """Return the English name of a whole number in 0..999999, without hyphens or 'and'."""
    for size, word in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {name_of(number % size)}" if number % size else ""
            return f"{name_of(number // size)} {word}{rest}"
    if number < 20:
        return SMALL[number]
    return TENS[number // 10 - 2] + (f" {SMALL[number % 10]}" if number % 10 else "")
