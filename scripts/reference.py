"""Write docs/reference/ from the code: `python scripts/reference.py`.

Configuration keys come from `dltrain/config/schema.py` and the defaults in `configs/*.yaml`, commands from the
docstrings of `dltrain/commands/`, exit codes from `dltrain/errors.py`, the Python page from docstrings. Nothing
heavy is imported.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dltrain.cli.discovery import command_name
from dltrain.cli.help import default_of
from dltrain.config.command_options import COMMANDS
from dltrain.config.folders import first_comment, packaged, read_yaml
from dltrain.config.hints import show
from dltrain.config.options import read_options
from dltrain.config.schema import ENGINE, GROUPS, NODES, Key

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- written by scripts/reference.py: change the code, then run it -->\n\n"
SECTIONS = {
    "How long, and how often": (
        "seed epochs steps examples batch_size eval_batch_size log_every eval_every checkpoint_every keep_every"
    ),
    "The best state, and stopping early": (
        "monitor early_stopping.patience early_stopping.min_delta "
        "stop.loss stop.gradient_norm stop.change stop.time"
    ),
    "The run folder": "output_dir overwrite name tags",
}
"""Sections of the engine's keys; all keys that no section names are in the last one, "Everything else"."""
PYTHON = {
    "api": "What `import dltrain` exposes",
    "inference.run": "What fit and open_run return",
    "types": "Specs, tasks and the types of a part's arguments",
    "kinds": "Kinds of features, which `dltrain.types` has, too",
    "engine.events": "What a callback receives and returns",
    "durations": "Durations",
    "errors": "Errors",
}
"""The modules that a part of your own imports."""


def configuration() -> str:
    """Write a table for each section of keys, with default, values and meaning."""
    base = read_yaml(packaged() / "train.yaml")
    named = {title: keys.split() for title, keys in SECTIONS.items()}
    rest = [key for key in ENGINE if key not in {k for keys in named.values() for k in keys}]
    lines = [
        "# Configuration keys",
        "",
        "Set a key with `key=value` after `dltrain`, or in a YAML file. This page lists the keys that dltrain",
        "itself reads. A part's own arguments (`model.widths`) are in the [catalogue](../catalogue.md).",
        "",
        'A *duration* is a number of steps (`100`), of epochs (`1ep`), or a time (`"2h"`, `"5min"`, `"30s"`).',
        "",
    ]
    for title, keys in {**named, "Everything else": rest}.items():
        lines += [f"## {title}", "", *_keys({key: ENGINE[key] for key in keys}, base), ""]
    for group, keys in NODES.items():
        name = group.removesuffix(".*")
        title = f"`{name}`" if name == group else f"`{name}.NAME`"
        what = GROUPS[name] if name == group else f"one entry for each chosen part of `{name}`"
        full = {f"{group.replace('*', 'NAME')}.{key}": value for key, value in keys.items()}
        lines += [f"## {title}: {what}", "", *_keys(full, base), ""]
    return "\n".join(lines)


def commands() -> str:
    """Write a section for each command, from its module's docstring, with its options."""
    lines = [
        "# Commands",
        "",
        "`dltrain COMMAND [WORDS] [key=value ...]`. Without a command's name, `dltrain` trains.",
        "`dltrain COMMAND --help` prints the same text.",
        "",
    ]
    for name, text in docstrings(ROOT / "dltrain" / "commands").items():
        first, _, rest = text.partition("\n")
        what, _, usage = first.partition(": dltrain ")
        lines += [f"## {name}", "", f"{escaped(what).removesuffix('.')}.", ""]
        if usage:
            lines += ["```text", f"dltrain {usage.removesuffix('.')}", "```", ""]
        lines += [escaped(rest.strip()), ""] if rest.strip() else []
        if COMMANDS.get(name):
            lines += _keys(COMMANDS[name], read_yaml(packaged() / f"{name}.yaml"))
        lines += launchers() if name == "launch" else []
        lines += [""]
    return "\n".join(lines)


def launchers() -> list[str]:
    """Write the options of each launcher, from its YAML."""
    lines: list[str] = []
    for path in sorted((packaged() / "launch").glob("*.yaml")):
        options = read_options(path)
        lines += [f"### launch {path.stem}", "", f"{escaped(first_comment(path))}.", ""]
        lines += [*_keys({name: one.key for name, one in options.items()}, read_yaml(path)), ""]
    return lines[:-1]


def exit_codes() -> str:
    """Write a table of the codes that a process may end with, from the errors that carry them."""
    tree = ast.parse((ROOT / "dltrain" / "errors.py").read_text(encoding="utf-8"))
    found = {0: "The command is done."}
    for node in (n for n in tree.body if isinstance(n, ast.ClassDef)):
        for line in node.body:
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
                found[int(line.value.value)] = (ast.get_docstring(node) or "").split("\n")[0]
    found[1] = "A fault in dltrain itself; please report it, with `train.log`."
    rows = [f"| {code} | {escaped(text)} |" for code, text in sorted(found.items())]
    lines = [
        "# Exit codes",
        "",
        "Every failure prints one message on stderr that says what is wrong, where, and what to do. The traceback",
        "is in the run folder's `train.log`. Set `DLTRAIN_TRACEBACK=1` in the environment to print it, too.",
        "",
        "| code | meaning |",
        "|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def python() -> str:
    """Write what a user's own parts import: classes and functions with their signatures and docstrings."""
    lines = ["# Python API", ""]
    for module, title in PYTHON.items():
        path = ROOT / "dltrain" / f"{module.replace('.', '/')}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines += [f"## `dltrain.{module}`: {title.lower()}", ""]
        for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(node, ast.Assign) and isinstance(after, ast.Expr):  # a constant with a docstring
                lines += _entry(ast.unparse(node.targets[0]), ast.unparse(node), ast.literal_eval(after.value))
            elif isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                lines += _entry(node.name, _signature(node), ast.get_docstring(node) or "")
    return "\n".join(lines)


def docstrings(folder: Path) -> dict[str, str]:
    """Return the docstring of each command of a folder by its name, without importing it."""
    paths = sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))
    texts = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in paths)
    return {command_name(path.stem): text for path, text in zip(paths, texts, strict=True)}


def escaped(text: str) -> str:
    """Escape the signs that Markdown would take for its own, outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([|<>*_\[\]{}$])", r"\\\1", part) for part in parts)


def _keys(keys: Mapping[str, Key], base: Mapping[str, Any]) -> list[str]:
    rows = ["| key | default | values | what it does |", "|---|---|---|---|"]
    for path, key in keys.items():
        value = default_of(path, base)
        default = "" if value is ... else f"`{show(value)}`"
        unit = f" Unit: {escaped(key.unit)}." if key.unit else ""
        rows.append(f"| `{path}` | {default} | {escaped(key.kind.words)} | {_sentence(key.line)}{unit} |")
    return rows


def _sentence(text: str) -> str:
    return f"{escaped(text[:1].upper() + text[1:]).removesuffix('.')}."


def _entry(name: str, code: str, docstring: str) -> list[str]:
    return [f"### `{name}`", "", "```python", code, "```", "", *_markdown(docstring), ""]


def _signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{node.name}({ast.unparse(node.args)}){returns}"
    head = f"class {node.name}" + (f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else "")
    return "\n".join([head, *(f"    {line}" for line in _members(node))])


def _members(node: ast.ClassDef) -> Iterator[str]:
    for member in node.body:
        if isinstance(member, ast.AnnAssign | ast.Assign):
            yield ast.unparse(member)
        elif isinstance(member, ast.FunctionDef) and (member.name == "__call__" or not member.name.startswith("_")):
            text = ast.get_docstring(member) or ""
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in member.decorator_list)
            call = member.name if is_property else f"{member.name}({ast.unparse(member.args)})"
            yield f"{call}  # {text.splitlines()[0] if text else ''}"


def _markdown(docstring: str) -> list[str]:
    """Return a docstring as Markdown: its Args as a list."""
    docstring, _, examples = inspect.cleandoc(docstring).partition("\nExamples:\n")
    lines = []
    for line in docstring.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            lines += [f"**{line[:-1]}**", ""]
        elif found := re.match(r"    ([*\w]+): (.*)", line):
            lines.append(f"- `{found[1]}`: {escaped(found[2])}")
        else:
            lines.append(escaped(line) if not line.startswith("     ") else f"  {escaped(line.strip())}")
    if examples:
        code = [line.removesuffix("  # doctest: +ELLIPSIS") for line in textwrap.dedent(examples).splitlines()]
        lines += ["", "**Examples**", "", "```python", *code, "```"]
    return lines


PAGES = {
    "configuration.md": configuration,
    "commands.md": commands,
    "exit-codes.md": exit_codes,
    "python.md": python,
}


def written(page: str) -> str:
    """Return a page of docs/reference/."""
    return f"{NOTE}{PAGES[page]().rstrip()}\n"


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        (FOLDER / page).write_text(written(page), encoding="utf-8")


if __name__ == "__main__":
    main()
