"""Text for terminals of any width: lines broken between words, tables, and lines that leave out what does not fit.

A width of None is that of a file or a pipe: nothing is broken or left out. Written by hand, since rich's tables
break headers and numbers inside words, and cannot change into a list.
"""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

GAP = "  "
INDENT = 8  # columns, of continued lines: below the text after a label
TIE = "\ue000"  # stands for a space at which no line is broken
NARROWEST = 24  # columns of a wrapped cell, if its words allow it


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False  # align numbers to the right
    wraps: bool = False  # break long cells between words
    drop: int = 0  # on narrow terminals, columns with the highest number are left out first; 0: never


def wrapped(text: str, width: int | None, *, indent: int = INDENT) -> list[str]:
    """Break a text between words into lines of at most `width`; continued lines are indented.

    A name and its value, separated by one space in a line of them, stay together. A longer word is not broken.
    """
    if width is None or cell_len(text) <= width:
        return [text]
    indent = min(indent, width // 3)
    lines = [""]
    for space, word in re.findall(r"(\s*)(\S+)", _tied(text)):
        joined = f"{lines[-1]}{space}{word}"
        if lines[-1].strip() and cell_len(joined.rstrip()) > width:
            lines.append(f"{' ' * indent}{word}")
        else:
            lines[-1] = joined
    return [line.replace(TIE, " ") for line in lines]


def for_terminal(text: str) -> str:
    """Break the lines of a text in two columns between words, if stdout is a terminal."""
    if not sys.stdout.isatty():
        return text
    width = max(1, shutil.get_terminal_size().columns)
    lines = []
    for line in text.split("\n"):
        left = re.match(r"\s*(\S+( \S+)*  +)?", line)
        lines += wrapped(line, width, indent=left.end() if left else 0)
    return "\n".join(lines)


def _tied(text: str) -> str:
    """Tie a number to its deviation, and, in lines of parts two spaces apart, a name to its number."""
    text = text.replace(" ± ", f"{TIE}±{TIE}")
    return re.sub(r"(?<=\S) (?=-?[\d.]+\S*(  |$))", TIE, text) if GAP in text.strip() else text


def shortened(parts: Sequence[tuple[str, ...]], order: Sequence[int], width: int | None) -> str:
    """Join parts to a line of at most `width`.

    Args:
        parts: of the line, each with its forms from the longest to the shortest; "" leaves it out.
        order: the indices of the parts to shorten by one form, one after the other, until the line fits.
        width: in columns; None for no limit.
    """
    forms = [0] * len(parts)

    def line() -> str:
        return GAP.join(part[form] for part, form in zip(parts, forms, strict=True) if part[form])

    for index in order:
        if width is None or cell_len(line()) <= width:
            break
        forms[index] += 1
    return line()


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Lay out a table: header and rows, without some columns if it is too wide, or at last a list.

    The list has the first cell of each row, and below it the other cells, each with the title of its column.
    """
    kept = list(range(len(columns)))
    while True:
        chosen = [columns[i] for i in kept]
        lines = _grid(chosen, [[row[i] for i in kept] for row in rows], width)
        if width is None or max(map(cell_len, lines)) <= width:
            return lines
        if not any(column.drop for column in chosen):
            return _listed(columns, rows, width)
        kept.remove(max(kept, key=lambda i: columns[i].drop))


def _grid(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Lay out all columns side by side; cells of columns that wrap share the width that the others leave."""
    cells = [[column.title for column in columns], *rows]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(columns))]
    spare = 0 if width is None else sum(widths) + len(GAP) * (len(widths) - 1) - width
    for i, column in enumerate(columns):
        if column.wraps and spare > 0:
            longest = max((cell_len(word) for row in cells for word in row[i].split()), default=0)
            narrow = max(longest, min(NARROWEST, widths[i]), widths[i] - spare)
            spare, widths[i] = spare - (widths[i] - narrow), narrow
    lines = []
    for row in cells:
        broken = [wrapped(cell, size, indent=0) if cell else [""] for cell, size in zip(row, widths, strict=True)]
        for number in range(max(map(len, broken))):
            parts = [lines_of[number] if number < len(lines_of) else "" for lines_of in broken]
            filled = [_filled(*of) for of in zip(parts, widths, (column.right for column in columns), strict=True)]
            lines.append(GAP.join(filled).rstrip())
    return lines


def _listed(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    lines = []
    for row in rows:
        lines += wrapped(f"{columns[0].title} {row[0]}", width)
        for column, cell in zip(columns[1:], row[1:], strict=True):
            lines += wrapped(f"{GAP}{column.title} {cell}", width, indent=4) if cell else []
    return lines


def _filled(text: str, width: int, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
