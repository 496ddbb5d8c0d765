"""Write what `dltrain list` says into the README's table and docs/catalogue.md: `python scripts/catalogue.py`.

Only what stands between the two markers of each page is replaced.
"""

from pathlib import Path

from dltrain.config.catalogue import Section, catalogue
from dltrain.config.folders import packaged, read_tree

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- written by scripts/catalogue.py -->\n", "<!-- end -->"


def short(sections: dict[str, Section]) -> str:
    """Write a row for each section, with the names of its choices."""
    rows = [
        f"| [`{name}`](docs/catalogue.md#{name}) | {', '.join(found.lines)} |" for name, found in sections.items()
    ]
    return "\n".join(["| | choices |", "|---|---|", *rows])


def whole(sections: dict[str, Section]) -> str:
    """Write a table for each section, with a line for each choice."""
    tables = []
    for name, found in sections.items():
        rows = [f"| `{choice}` | {escaped(line)} |" for choice, line in found.lines.items()]
        tables.append("\n".join([f"## {name}", "", f"{found.what}", "", "| | |", "|---|---|", *rows]))
    return "\n\n".join(tables)


def escaped(line: str) -> str:
    """Keep signs that Markdown would take for its own."""
    for sign in "|<*":
        line = line.replace(sign, "\\" + sign)
    return line


PAGES = {"README.md": short, "docs/catalogue.md": whole}


def written(page: str) -> str:
    """Return a page with its part written anew."""
    before, _, rest = (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{PAGES[page](catalogue(read_tree((packaged(),))))}\n\n{END}{after}"


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        (ROOT / page).write_text(written(page), encoding="utf-8")


if __name__ == "__main__":
    main()
