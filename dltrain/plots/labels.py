"""Class names that matplotlib can draw: no missing glyphs, no formulas, short enough for an axis."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font


def labels(names: Iterable[object], *, length: int = 16) -> list[str]:
    """Return labels for names, distinct if the names are; a name that cannot be drawn becomes the class number.

    Args:
      names: class names, in the order of the labels.
      length: of the longest label, in characters; longer names are shortened in the middle.
    """
    short = [_shorten(_drawable(str(name)), length) for name in names]
    seen = Counter(short)
    return [text if text and seen[text] == 1 else f"#{k}" for k, text in enumerate(short)]


def label_of(value: int, names: Sequence[str]) -> str:
    """Return the label of a class number, also of one without a name."""
    return names[value] if 0 <= value < len(names) else f"#{value}"


def _drawable(name: str) -> str:
    """Drop characters without a glyph in the font."""
    has_glyph = _glyphs()
    return " ".join("".join(c for c in name if c.isspace() or has_glyph(c)).split())


def _shorten(text: str, length: int) -> str:
    if len(text) > length:
        head = (length - 1) // 2
        text = text[: length - 1 - head] + "…" + text[len(text) - head :]
    return text.replace("$", r"\$")


@cache
def _glyphs():
    font = get_font(findfont(FontProperties()))
    return lambda character: font.get_char_index(ord(character)) != 0
