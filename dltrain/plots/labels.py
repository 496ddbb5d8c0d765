"""Class names as matplotlib can draw them: no missing glyphs, no formulas, short enough for an axis."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font


def labels(names: Iterable[object], *, length: int = 16) -> list[str]:
    """Make labels of names, distinct where the names are; what cannot be drawn becomes the class's number.

    Args:
      names: class names, in the order of the labels.
      length: the longest label, in characters; longer names lose their middle.
    """
    short = [_shorten(_drawable(str(name)), length) for name in names]
    seen = Counter(short)
    return [text if text and seen[text] == 1 else f"#{k}" for k, text in enumerate(short)]


def label_of(value: int, names: Sequence[str]) -> str:
    """The label of a class number, also of one that has no name."""
    return names[value] if 0 <= value < len(names) else f"#{value}"


def _drawable(name: str) -> str:
    """Drop what the font has no glyph for; a dollar sign would start a formula."""
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
