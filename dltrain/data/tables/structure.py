"""Where the rows of a text file begin and end, and how many fields each has: from its bytes, by array operations.

polars reads the fields. It fills up rows that are too short without a word, and knows no line numbers; so the rows
are found here first, and it is given only those that are whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 1 << 26  # bytes of a part of the file that is looked at together


@dataclass(frozen=True)
class Rows:
    """The rows of a part of a file.

    Attributes:
        data: the part, with rows that end in a line feed, and without blanks around fields.
        starts: where each row begins in `data`, int [R].
        ends: where its line feed is, int [R].
        fields: number of fields of each, int [R].
        lines: the line of the file in which each begins, from 1, int [R].
        stray: line of the first quote that neither opens nor closes a field, 0 if there is none.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    fields: np.ndarray
    lines: np.ndarray
    stray: int

    def select(self, keep: np.ndarray) -> bytes:
        """Return the bytes of these rows, bool [R]."""
        if keep.all() and (self.ends - self.starts + 1).sum() == len(self.data):
            return self.data
        view, starts, ends = memoryview(self.data), self.starts[keep], self.ends[keep]
        return b"".join(view[start : end + 1] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))


def blocks(
    data: Any, quote: str, *, first: int = 0, line: int = 1, size: int = BLOCK
) -> Iterator[tuple[int, bytes]]:
    """Cut a file into parts that end with a row; each with the line in which it begins, from 1.

    Args:
        data: bytes, or a memory-mapped file.
        quote: the character around fields, in which a line may end; "" for none.
        first: where the first row begins.
        line: the line that it begins.
        size: bytes of a part; a row that is longer makes it larger.
    """
    start, sign = first, quote.encode()
    while start < len(data):
        part = data[start : start + size]
        while start + len(part) < len(data):
            cut = part.rfind(b"\n") + 1
            while cut and sign and part.count(sign, 0, cut) % 2:
                cut = part.rfind(b"\n", 0, cut - 1) + 1
            if cut:
                part = part[:cut]
                break
            part = data[start : start + len(part) + size]
        yield line, part
        line += part.count(b"\n")
        start += len(part)


def find_rows(data: bytes, separator: str, quote: str, *, line: int = 1) -> Rows:
    """Find the rows of a part that begins in this line; rows without a character are left out."""
    if separator == " ":
        data = _single_blanks(data, quote)
    data = data if data.endswith(b"\n") else data + b"\n"
    content = np.frombuffer(data, np.uint8)
    stray = _stray(content, separator, quote, line)
    lines = np.flatnonzero(content == 10)
    content, kept = _without_blanks(content, separator, quote)
    outside = _outside(content, quote)
    ends = np.flatnonzero((content == 10) & outside)
    if not len(ends) or ends[-1] != len(content) - 1:  # a quote is open to the end; `stray` says so
        ends = np.append(ends, len(content) - 1)
    starts = np.concatenate([[0], ends[:-1] + 1])
    cuts = np.flatnonzero((content == ord(separator)) & outside)
    fields = np.searchsorted(cuts, ends) - np.searchsorted(cuts, starts) + 1
    before = kept[starts] if kept is not None else starts
    numbers = np.searchsorted(lines, before) + line
    full = ends > starts
    return Rows(content.tobytes(), starts[full], ends[full], fields[full], numbers[full], stray)


def _outside(content: np.ndarray, quote: str) -> np.ndarray:
    """Tell which bytes are outside of quotes, bool [N]."""
    if not quote:
        return np.ones(len(content), bool)
    return np.cumsum(content == ord(quote), dtype=np.uint8) % 2 == 0


def _stray(content: np.ndarray, separator: str, quote: str, line: int) -> int:
    """Return the line of the first quote that neither opens nor closes a field, or is never closed; else 0."""
    if not quote:
        return 0
    sign, cut = ord(quote), ord(separator)
    at = np.flatnonzero(content == sign)
    if not len(at):
        return 0
    around = np.concatenate([[10], content, [10]])
    before, after = around[at], around[at + 2]
    wrong = np.empty(len(at), bool)
    blanks = (32, 9)
    wrong[::2] = ~np.isin(before[::2], (cut, 10, sign, *blanks))
    wrong[1::2] = ~np.isin(after[1::2], (cut, 10, 13, sign, *blanks))
    if not wrong.any() and len(at) % 2 == 0:
        return 0
    first = int(np.argmax(wrong)) if wrong.any() else len(at) - 1
    first -= first % 2  # where the field is opened
    return int(np.count_nonzero(content[: at[first]] == 10)) + line


def _without_blanks(content: np.ndarray, separator: str, quote: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Drop blanks next to separators and line ends, and carriage returns before line feeds, outside of quotes.

    Returns:
        The content, and where each byte was; None if nothing was dropped.
    """
    blank = (content == 32) | (content == 9) if separator not in (" ", "\t") else content == 32
    blank &= separator != " "
    returns = content == 13
    if not blank.any() and not returns.any():
        return content, None
    outside = _outside(content, quote)
    feed = (content == 10) & outside
    drop = np.zeros(len(content), bool)
    drop[:-1] = returns[:-1] & feed[1:]
    edge = feed | ((content == ord(separator)) & outside)
    blank &= outside
    after = edge | drop  # what a blank before it makes superfluous
    while True:  # one blank more in each round; fields are rarely padded with many
        new = np.zeros(len(content), bool)
        new[1:] = edge[:-1] & blank[1:]
        new[0] = blank[0]
        new[:-1] |= after[1:] & blank[:-1]
        new &= ~drop
        if not new.any():
            break
        drop |= new
        edge = edge | new
        after = after | new
    kept = np.flatnonzero(~drop)
    return content[kept], kept


def _single_blanks(data: bytes, quote: str) -> bytes:
    """Turn runs of blanks into one, outside of quotes, and drop those around a row."""
    content = np.frombuffer(data, np.uint8)
    outside = _outside(content, quote)
    blank = ((content == 32) | (content == 9)) & outside
    edge = np.concatenate([[True], (content[:-1] == 10) | blank[:-1]])
    content = np.where(blank, np.uint8(32), content)[~(blank & edge)]
    ends = np.concatenate([(content[1:] == 10) | (content[1:] == 13), [True]])
    return content[~((content == 32) & ends & _outside(content, quote))].tobytes()
