"""Write what `dltrain list` says into the README's table and docs/catalogue.md: `python scripts/catalogue.py`.

Only the text between the two markers of each page is replaced.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dltrain.build.instantiate import describe
from dltrain.config.catalogue import Section, catalogue
from dltrain.config.folders import packaged, read_tree, read_yaml
from dltrain.config.hints import show

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- written by scripts/catalogue.py -->\n", "<!-- end -->"


def short(sections: dict[str, Section]) -> str:
    """Write a row for each section, with the names of its choices."""
    rows = [
        f"| [`{name}`](docs/catalogue.md#{name}) | {', '.join(found.lines)} |" for name, found in sections.items()
    ]
    return "\n".join(["| | choices |", "|---|---|", *rows])


def whole(sections: dict[str, Section]) -> str:
    """Write a table for each section, with a line for each choice, and its arguments with defaults and ranges."""
    tables, tree = [], read_tree((packaged(),))
    for name, found in sections.items():
        rows = []
        for choice, line in found.lines.items():
            path = tree.get(name, {}).get(choice)
            keys = " ".join(_arguments(read_yaml(path) if path else {}))
            rows.append(f"| `{choice}` | {escaped(line)} | {keys.replace('|', chr(92) + '|')} |")
        head = ["| choice | when to choose it | arguments, defaults and ranges |", "|---|---|---|"]
        tables.append("\n".join([f"## {name}", "", f"{found.what[0].upper()}{found.what[1:]}.", "", *head, *rows]))
    return "\n\n".join(tables)


def _arguments(node: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the dotted name, the default and the range of what a choice's YAML sets."""
    admits = describe(node, path=before) if node.get("_target_") else {}
    for name, value in node.items():
        if name in ("_target_", "defaults", "files", "mirrors"):
            continue
        if isinstance(value, Mapping) and "_target_" in value:
            yield from _arguments(value, f"{before}{name}.")
            continue
        yield f"`{before}{name}={show(value)}`"
        if bounds := re.search(r"(a finite|a whole) number (.*)", admits.get(name, "")):
            yield f"({'whole, ' if bounds[1] == 'a whole' else ''}{escaped(bounds[2])})"


def escaped(line: str) -> str:
    """Keep signs that Markdown would take for its own."""
    for sign in "|<*":
        line = line.replace(sign, "\\" + sign)
    return line


PAGES = {"README.md": short, "docs/catalogue.md": whole}


def written(page: str) -> str:
    """Return a page with its generated part replaced."""
    before, _, rest = (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{PAGES[page](catalogue(read_tree((packaged(),))))}\n\n{END}{after}"


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        (ROOT / page).write_text(written(page), encoding="utf-8")


if __name__ == "__main__":
    main()
