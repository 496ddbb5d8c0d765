"""How the files of a table are to be read: what the user sets, and `auto` for what is detected."""

from dataclasses import dataclass

from dltrain.data.bad import OnBad
from dltrain.errors import ConfigError, DataError

MISSING = ("", "NA", "NaN", "null", "?")
"""Markers of a missing value in a file; data.missing replaces them."""
SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}
"""Words for separators that are hard to type."""


class SettableError(DataError):
    """A fault that a key of the options mends; `wrong` leaves that advice out, for data without the key."""

    def __init__(self, wrong: str, advice: str) -> None:
        """Join both to the message."""
        super().__init__(wrong + advice)
        self.wrong = wrong


@dataclass(frozen=True)
class Options:
    """How to read the files of a table; see `dltrain.data.sources.table.load_table` for each of them."""

    separator: str = "auto"
    quote: str = "auto"
    encoding: str = "auto"
    header: bool | None = None
    decimal: str = "auto"
    columns: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING
    comment: str | None = None
    on_bad: OnBad = OnBad.ERROR
    most_bad: float = 0.01
    meanings: tuple[tuple[str, str], ...] = ()
    strip_label: str | None = None
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take the word for a separator, and refuse what no file can have."""
        named = SEPARATORS.get(self.separator, "\t" if self.separator == "\\t" else self.separator)
        object.__setattr__(self, "separator", named)
        if named != "auto" and not is_single(named):
            raise ConfigError(f"data.separator={named}: expected auto, one character, or {', '.join(SEPARATORS)}")
        if self.quote not in ("auto", "none") and not is_single(self.quote):
            raise ConfigError(f"data.quote={self.quote}: expected auto, none, or one character")
        if self.quote == named != "auto":
            raise ConfigError(f"data.quote={self.quote}: is also data.separator; they must differ")
        if self.comment is not None and (not self.comment or not self.comment.isascii() or "\n" in self.comment):
            raise ConfigError(f"data.comment={self.comment!r}: expected the characters that begin a comment line")
        if twice := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            raise ConfigError(f"data.columns: {twice[0]} is named twice; each column needs a name of its own")


def is_single(text: str) -> bool:
    """Tell whether a text is one ASCII character that may separate or quote fields."""
    return len(text) == 1 and text.isascii() and text not in "\r\n\0"
