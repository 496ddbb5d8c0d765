"""The frame of a report: one file of HTML with its style and script inside, which loads nothing.

Texts come from files that somebody else may have written, so every function here escapes what it is given; `Markup`
is text that is HTML already.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
EMPTY = ("img", "meta")  # elements without an end


class Markup(str):
    """Text that is HTML, with everything in it escaped."""


@dataclass(frozen=True)
class Section:
    """A part of a page, with a heading and a link in the table of contents."""

    title: str
    body: Markup


def escaped(text: object) -> str:
    """Return a text as HTML; Markup stays as it is."""
    return text if isinstance(text, Markup) else html.escape(str(text))


def join(*parts: str) -> Markup:
    """Join pieces of HTML."""
    return Markup("".join(escaped(part) for part in parts))


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Make an element; a `_` at the end of an attribute's name is left out, others become `-`."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return Markup(f"<{tag}{given}>" if tag in EMPTY else f"<{tag}{given}>{join(*children)}</{tag}>")


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, numbers: bool = True
) -> Markup:
    """Make a table whose first column names the rows; on a narrow screen it scrolls by itself.

    With `numbers`, the other columns are aligned to the right.
    """
    head = element("tr", *(element("th", title, scope="col") for title in headings))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    )
    titled = [element("caption", caption)] if caption else []
    made = element("table", *titled, element("thead", head), element("tbody", *body), class_="numbers" * numbers)
    return element("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption or headings[0])


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Make a list of names with their values; empty values are left out."""
    found = ((element("dt", name), element("dd", value)) for name, value in pairs if value)
    return element("dl", *(part for pair in found for part in pair))


def bullets(lines: Sequence[str]) -> Markup:
    """Make a list of sentences."""
    return element("ul", *(element("li", line) for line in lines)) if lines else Markup()


def pre(text: str) -> Markup:
    """Show a text as it stands: commands, YAML."""
    return element("pre", element("code", text), tabindex="0")


def folded(title: str, body: str) -> Markup:
    """Hide a long part behind its title; print shows it."""
    return element("details", element("summary", title), body)


def warning(lines: Sequence[str]) -> Markup:
    """Show sentences that a reader must not miss."""
    return (
        element("div", *(element("p", line) for line in lines), class_="warning", role="note")
        if lines
        else Markup()
    )


def page(title: str, subtitle: str, top: str, sections: Sequence[Section]) -> str:
    """Make the file: a title, what comes first, and sections with a table of contents."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "curves.js"))
    links = (element("a", section.title, href=f"#{_name(section)}") for section in sections)
    head = join(
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    body = join(
        element("header", element("h1", title), element("p", subtitle, class_="subtitle")),
        element("nav", *links, aria_label="Sections"),
        element("main", top, *(_section(section) for section in sections)),
        element("script", Markup(script)),
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _section(section: Section) -> Markup:
    return element("section", element("h2", section.title), section.body, id=_name(section))


def _name(section: Section) -> str:
    return section.title.lower().replace(" ", "-")
