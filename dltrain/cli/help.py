"""Help texts, made from the folders of YAML, the schema and docstrings; nothing heavy is imported."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dltrain.cli.discovery import Command
from dltrain.config.catalogue import table
from dltrain.config.folders import Tree, read_yaml
from dltrain.config.hints import show
from dltrain.config.schema import ENGINE, GROUPS, NODES, Key

EXAMPLES = (
    ("dltrain", "an MLP on the built-in digits, no network needed"),
    ("dltrain data=mnist model=cnn optim=adam epochs=2", "choose parts, set values"),
    ("dltrain experiment=mnist_lenet", "several parts and values at once, from a file"),
    ("dltrain -m model=mlp,cnn optim.learning_rate=1e-2,1e-3", "every combination, one after the other"),
    ("dltrain resume RUN epochs=20", "continue a run where it stopped"),
    ("tensorboard --logdir outputs", "watch the curves in a browser"),
)
OPTIONS = (
    ("-m, --multirun", "a run for each combination of values: model=mlp,cnn seed=0,1,2"),
    ("-m --resume SWEEP", "run what is missing of a sweep"),
    ("--config-dir DIR", "your own folder of YAML, laid out like dltrain's: model/mine.yaml"),
    ("--cfg job", "print the composed config and exit"),
    ("-sc install=bash", 'tab completion: eval "$(dltrain -sc install=bash)"; also zsh and fish'),
    ("--version", "print the version"),
    ("-h, --help", "print this help; also after a command"),
)


def overview(commands: Mapping[str, Command]) -> str:
    """Write `dltrain --help`."""
    lines = ["dltrain trains a neural network from the command line, with JAX and YAML.", ""]
    lines += [
        "Usage: dltrain [COMMAND] [RUN] [group=choice] [key=value] [options]",
        "",
        "Commands (default: train):",
    ]
    lines += table([(name, command.text.split("\n")[0]) for name, command in commands.items()])
    lines += ["", "Examples:", *table(list(EXAMPLES))]
    lines += ["", "Options:", *table(list(OPTIONS))]
    lines += ["", "List the choices: dltrain list [GROUP]. List the keys: dltrain train --help."]
    return "\n".join(lines)


def of_training(tree: Tree, folders: tuple[Path, ...]) -> str:
    """Write `dltrain train --help`: the groups with their choices, and the engine's keys."""
    base = defaults("train", folders)
    lines = ["dltrain train: train a model; the word train is optional.", ""]
    lines += ["Groups (group=choice; describe the choices with dltrain list GROUP):"]
    for group, choices in tree.items():
        if group in GROUPS:
            text = f"{GROUPS[group]}: {', '.join(choices)}"
            lines += textwrap.wrap(text, 100, initial_indent=f"  {group:<12}", subsequent_indent=" " * 14)
    lines += ["", "Keys (key=value):", *_keys(ENGINE, base)]
    for group, keys in NODES.items():
        place = group.replace("*", "NAME")
        lines += _keys({f"{place}.{name}": key for name, key in keys.items()}, base)
    lines += [
        "",
        "The arguments of a choice and the values they accept: dltrain list model=cnn. Set one: model.dropout=0.5.",
    ]
    return "\n".join(lines)


def of_command(command: Command, folders: tuple[Path, ...]) -> str:
    """Write `dltrain COMMAND --help`: its docstring and its options."""
    text = command.text
    lines = [f"dltrain {command.name}: {text[:1].lower()}{text[1:]}"]
    if command.keys:
        given = command.defaults or defaults(command.name, folders)
        lines += ["", "Keys (key=value):", *_keys(command.keys, given)]
    return "\n".join(lines)


def defaults(name: str, folders: tuple[Path, ...]) -> dict[str, Any]:
    """Read the values that configs/<name>.yaml sets, without the list of its choices."""
    return {key: value for key, value in read_yaml(folders[0] / f"{name}.yaml").items() if key != "defaults"}


def default_of(path: str, base: Mapping[str, Any]) -> Any:
    """Return the value that `base` sets for a dotted key, or ... if it sets none."""
    value: Any = base
    for part in path.split("."):
        value = value.get(part, ...) if isinstance(value, Mapping) else ...
    return value


def _keys(keys: Mapping[str, Key], base: Mapping[str, Any]) -> list[str]:
    lines = []
    for path, key in keys.items():
        value = default_of(path, base)
        default = "" if value is ... else f"={show(value)}"
        unit = f" [{key.unit}]" if key.unit else ""
        lines += [f"  {path}{default}{unit}", f"      {key.line}; {key.kind.words}"]
    return lines
