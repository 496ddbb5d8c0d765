"""List the choices of each group, one per line, or the arguments of a choice: dltrain list [GROUP] [GROUP=CHOICE].

The descriptions are the first comments of the YAML files, including those of --config-dir; for activations and
initializers, which are chosen by name, the first lines of their docstrings. `dltrain list model=cnn` lists the
arguments of a choice with their defaults and the values they accept.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from dltrain.config.call import Call
from dltrain.config.catalogue import catalogue, table
from dltrain.config.checks import AWAITING, INJECTED, SINGLE
from dltrain.config.folders import read_tree
from dltrain.config.hints import nearest, show
from dltrain.config.schema import MULTIPLE, group_keys, split_node
from dltrain.errors import ConfigError
from dltrain.report.width import for_terminal


def run(call: Call) -> int:
    """Print the choices of the given groups, or of all groups; of GROUP=CHOICE its arguments."""
    sections = catalogue(read_tree(call.folders))
    words = [word for word in call.overrides if not word.startswith("trust=")]
    chosen = [word.partition("=")[0] for word in words]
    for group, word in zip(chosen, words, strict=True):
        if group not in (*SINGLE, *MULTIPLE):
            raise ConfigError(f"{word}: dltrain list takes groups and their choices: dltrain list model=cnn")
    for group in call.words:
        if group not in sections:
            raise ConfigError(f"{group}: no such group{nearest(group, sections)} (groups: {', '.join(sections)})")
    if chosen:
        _print_arguments(call, chosen)
    for i, group in enumerate(call.words or (() if chosen else sections)):
        if len(call.words) != 1:
            print(for_terminal(f"{chr(10) if i else ''}{group}: {sections[group].what}"))
        print(for_terminal("\n".join(table(sections[group].lines.items()))))
    return 0


def _print_arguments(call: Call, groups: list[str]) -> None:
    """Print each argument of the chosen parts: its default and the values it accepts."""
    composed = call.compose()
    for group in groups:
        node = composed.config[group]
        keys = group_keys(group)
        inside = {f"{group}.{name}": one for name, one in node.items() if name not in keys}
        nodes = inside if group in MULTIPLE else {group: node}
        rows = [row for path, one in nodes.items() for row in _arguments(group, path, one, composed.trust)]
        print("\n".join(table(rows)) if rows else f"  {group}: no arguments")


def _arguments(group: str, path: str, node: Mapping[str, Any], trust: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    instantiate = importlib.import_module("dltrain.build.instantiate")  # imports jax, which takes a second
    plain, _ = split_node(group, node)
    hidden = (*AWAITING.get(group, ()), *INJECTED.get(group, ()))
    values = instantiate.accepts(plain, path=path, trust=trust)
    for name, words in instantiate.describe(plain, path=path, trust=trust).items():
        value = values[name]
        if isinstance(value, Mapping) and "_target_" in value:
            yield f"{path}.{name}={value['_target_']}", words
            yield from _arguments("", f"{path}.{name}", value, trust)
        elif name not in hidden:
            yield f"{path}.{name}={show(value)}", words
