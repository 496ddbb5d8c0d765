"""The available choices, a line for each part: the first comments of YAML files, the first lines of docstrings.

`dltrain list`, the README's table and docs/catalogue.md are all generated from this.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dltrain.config.folders import Tree, first_comment
from dltrain.config.schema import GROUPS

FUNCTIONS = {
    "activation": ("activations", "by name, in a model that has one: model.activation=gelu"),
    "initializer": (
        "initializers",
        "by name, in a model that has one: model.kernel_init=orthogonal",
    ),
}
"""Section of parts that are chosen by a function's name -> the module with the functions, and a description."""


@dataclass(frozen=True)
class Section:
    """One kind of part: what it is, and each choice with its line."""

    what: str
    lines: dict[str, str]


def catalogue(tree: Tree) -> dict[str, Section]:
    """Return every group of the tree, and after `model` what is chosen by a function's name."""
    sections = {}
    for group, choices in tree.items():
        lines = {choice: first_comment(path) for choice, path in choices.items()}
        sections[group] = Section(GROUPS.get(group, "a user-defined group"), lines)
        if group == "model":
            sections |= {name: Section(what, _first_lines(module)) for name, (module, what) in FUNCTIONS.items()}
    return sections


def _first_lines(module: str) -> dict[str, str]:
    """Read the first docstring line of each public function, without importing what they need."""
    text = (Path(__file__).parent.parent / f"{module}.py").read_text(encoding="utf-8")
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    lines = {f.name: (ast.get_docstring(f) or "").split("\n")[0] for f in functions if not f.name.startswith("_")}
    return {name: line.replace("`", "").removesuffix(".") for name, line in lines.items()}


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Format rows of two columns."""
    rows = list(rows)
    width = max((len(left) for left, _ in rows), default=0)
    return [f"  {left:<{width}}  {right}".rstrip() for left, right in rows]
