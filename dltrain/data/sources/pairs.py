"""Pairs of texts, a source and what to write about it: from a file, or made by rules."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from dltrain.data.sources.files import read_file
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.data.vocabulary import SPECIAL, make_vocabulary, numbered, padded, to_be_written
from dltrain.errors import ConfigError, DataError
from dltrain.types import Kind


class Tokens(StrEnum):
    """What a text is cut into."""

    CHARACTERS = "characters"
    WORDS = "words"  # at white space


def make_pairs(sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> Rows:
    """Texts in pairs, whole in memory, padded to the longest; one vocabulary serves both sides.

    The inputs are the `source [L]` and its `length`, and of the target the `tokens` that `to_be_written` returns.

    Args:
        sources: tokens of each source.
        targets: tokens of each target.
    """
    vocabulary = make_vocabulary([*sources, *targets])
    written = to_be_written(numbered(targets, vocabulary))
    inputs = {
        "source": padded(numbered(sources, vocabulary)),
        "length": np.array([len(source) for source in sources], np.int32),
        "tokens": written.pop("tokens"),
    }
    kinds = {"source": Kind.TOKENS, "length": Kind.LENGTH, "tokens": Kind.DECODER_TOKENS}
    return make_rows({"inputs": inputs, **written}, kind=kinds, vocabulary=vocabulary)


def from_file(path: str, *, tokens: Tokens = Tokens.CHARACTERS, longest: int = 100) -> Rows:
    """Read a UTF-8 file of lines `source<TAB>target`.

    Args:
        path: the file.
        tokens: characters, or words.
        longest: the most tokens of a side; every row is padded to what the longest really has.

    Raises:
        DataError: the file cannot be read, or a line is no such pair; its number is named.
    """
    content = read_file(Path(path).expanduser()).removeprefix(b"\xef\xbb\xbf")  # some editors' mark of UTF-8
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    if not lines:
        raise DataError(f"data.path={path}: is empty; expected lines source<TAB>target")
    sides = [_parted(line, f"{path}, line {n}", Tokens(tokens), longest) for n, line in enumerate(lines, 1)]
    return make_pairs([source for source, _ in sides], [target for _, target in sides])


def _parted(line: bytes, where: str, tokens: Tokens, longest: int) -> list[list[str]]:
    """Return the tokens of both sides."""
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} is no UTF-8; save the file as UTF-8") from error
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
            raise DataError(f"{where}: {taken.pop()} is a token of dltrain's own; write it in another way")
    return sides


def reversal(
    rows: int = 20_000,
    *,
    letters: str = "abcdefghijklmnopqrstuvwxyz",
    shortest: int = 4,
    longest: int = 10,
    seed: int = 0,
) -> Rows:
    """Make different strings of random letters, each with itself read from the end.

    Args:
        rows: how many strings.
        letters: what they are made of.
        shortest: letters of the shortest string; all lengths up to `longest` are as likely.
        longest: letters of the longest string.
        seed: of the random numbers, not that of the run.
    """
    if not 1 <= shortest <= longest:
        raise ConfigError(f"data.shortest={shortest} data.longest={longest}: expected 1 <= shortest <= longest")
    if len(set(letters)) != len(letters) or not letters:
        raise ConfigError(f"data.letters={letters}: expected different letters")
    fewest = len(letters) ** shortest
    if not 1 <= rows <= fewest:  # the rarest length must not run out of strings
        raise ConfigError(f"data.rows={rows}: expected 1..{fewest}, the number of strings of {shortest} letters")
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < rows:
        lengths = rng.integers(shortest, longest + 1, rows)
        drawn = rng.integers(len(letters), size=(rows, longest))
        found |= {"".join(letters[i] for i in row[:n]): None for row, n in zip(drawn, lengths, strict=True)}
    strings = list(found)[:rows]
    return make_pairs(strings, [string[::-1] for string in strings])


def number_names(rows: int = 10_000, *, largest: int = 9_999, seed: int = 0) -> Rows:
    """Make different whole numbers from 0, in digits, each with its English name in words.

    Args:
        rows: how many numbers.
        largest: the largest of them, below a million.
        seed: of the random numbers, not that of the run.
    """
    if not 0 <= largest < 1_000_000:
        raise ConfigError(f"data.largest={largest}: expected 0..999999")
    if not 1 <= rows <= largest + 1:
        raise ConfigError(f"data.rows={rows}: expected 1..{largest + 1}, so many numbers there are")
    numbers = np.random.default_rng(seed).permutation(largest + 1)[:rows].tolist()
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
