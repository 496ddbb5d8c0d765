"""How a text file separates and quotes its fields, found in its beginning."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dltrain.data.tables.options import SEPARATORS, Options
from dltrain.data.tables.structure import find_rows

HEAD = 1 << 18  # bytes looked at for the separator and the header
ROWS = 1000  # rows looked at
CANDIDATES = (",", "\t", ";", "|")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?$")
STRAY = 0.1  # part of all quotes that stand in the middle of a field, from which quotes are ordinary characters


@dataclass(frozen=True)
class Dialect:
    """How the fields of a text file are written; `quote` is "" if none are quoted."""

    separator: str
    quote: str
    header: bool

    @property
    def words(self) -> str:
        """Describe the dialect in a few words."""
        names = {sign: name for name, sign in SEPARATORS.items()}
        named = names.get(self.separator, self.separator)
        return f"{named}-separated, {'with' if self.header else 'without'} header"


def find_dialect(data: bytes, options: Options, *, suffix: str = "") -> Dialect:
    """Detect what the options leave open.

    Args:
        data: the file, UTF-8 without comments.
        options: what the user set.
        suffix: of the file name, such as `.tsv`, which decides between equally good separators.
    """
    head = data[:HEAD]
    head = head[: head.rfind(b"\n") + 1] or head if len(data) > HEAD else head
    quotes = ('"', "'") if options.quote == "auto" else ("",) if options.quote == "none" else (options.quote,)
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()][:ROWS] or [""]
    guess = options.separator
    if guess == "auto":
        guess = _separator(lines, quotes[0], suffix)
    quote = options.quote if len(quotes) == 1 else next((q for q in quotes if _is_quote(data, guess, q)), "")
    quote = "" if quote == "none" else quote
    rows = find_rows(head, guess, quote)
    whole = (
        rows.data[start:end].decode("utf-8", "replace") for start, end in zip(rows.starts, rows.ends, strict=True)
    )
    fields = [split_fields(row, guess, quote) for row in itertools.islice(whole, ROWS)]
    header = _has_header(fields, options) if options.header is None else options.header
    return Dialect(guess, quote, header)


def split_fields(line: str, separator: str, quote: str) -> list[str]:
    """Split one line into its fields, without quotes and without white space around them."""
    blank = rf"[ \t]*{re.escape(quote)}((?:[^{re.escape(quote)}]|{re.escape(quote) * 2})*){re.escape(quote)}[ \t]*"
    if separator == " ":
        return line.split()
    if not quote or quote not in line:
        return [field.strip() for field in line.split(separator)]
    pattern = re.compile(rf"(?:{blank}|([^{re.escape(separator)}]*))({re.escape(separator)}|$)")
    fields, at = [], 0
    while match := pattern.match(line, at):
        held = match[1]
        fields.append(held.replace(quote * 2, quote) if held is not None else match[2].strip())
        at = match.end()
        if not match[3]:
            break
    return fields


def _separator(lines: list[str], quote: str, suffix: str) -> str:
    """Return the candidate that cuts most lines into equally many fields, at least two, and the first line, too.

    Without the first line, decimal commas in a file with semicolons would look like a separator.
    """
    best, found = (0.0, 0, 0, 0), ","
    for candidate in CANDIDATES:
        counts = Counter(len(split_fields(line, candidate, quote)) for line in lines)
        fields, often = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
        if fields == 1:
            continue
        preferred = (suffix in (".tsv", ".tab") and candidate == "\t") or (suffix == ".csv" and candidate == ",")
        first = len(split_fields(lines[0], candidate, quote)) == fields
        score = (round(often / len(lines), 1), int(first), int(preferred), fields)
        if score > best:
            best, found = score, candidate
    if best[0] >= 0.5:
        return found
    blanks = Counter(len(line.split()) for line in lines)
    (fields, often) = blanks.most_common(1)[0]
    if fields > 1 and often > 0.9 * len(lines) and len(lines) > 1:
        return " "
    return "\t" if suffix in (".tsv", ".tab") else found


def _is_quote(data: bytes, separator: str, quote: str) -> bool:
    """Tell whether quotes enclose fields: hardly any stands in the middle of one."""
    content, sign, cut = np.frombuffer(data, np.uint8), ord(quote), ord(separator)
    at = np.flatnonzero(content == sign)
    if not len(at):
        return False
    around = np.concatenate([[10, 10], content, [10]])  # as if the file began and ended with a new line
    two_before, before, after = around[at], around[at + 1], around[at + 3]
    opens = np.isin(before, (cut, 10)) | ((before == 32) & (two_before == cut))
    closes = np.isin(after, (cut, 10, 13, 32)) if cut != 32 else np.isin(after, (32, 10, 13))
    outer = opens | np.isin(after, (cut, 10, 13)) | (before == sign) | (after == sign)
    return bool(opens.any() and closes.any() and outer.sum() >= (1 - STRAY) * len(at))


def _has_header(rows: list[list[str]], options: Options) -> bool:
    """Tell whether the first row has the names of the columns."""
    first, rest = rows[0], rows[1:]
    if options.columns:
        return [name.lower() for name in first] == [name.lower() for name in options.columns]
    if any(NUMBER.match(field) or (field in options.missing and field) for field in first):
        return False
    for i in range(len(first)):
        below = [row[i] for row in rest if i < len(row) and row[i] not in options.missing]
        if below and sum(bool(NUMBER.match(value)) for value in below) > 0.9 * len(below):
            return True  # a word above numbers
    return not any(name and sum(row[i : i + 1] == [name] for row in rest) > 1 for i, name in enumerate(first))
