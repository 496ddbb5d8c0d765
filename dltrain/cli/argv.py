"""Parsing of the command line into command, words, overrides and flags; nothing is composed here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config.folders import Tree
from dltrain.config.hints import READS, close, is_file, nearest, reader
from dltrain.config.schema import ENGINE
from dltrain.errors import ConfigError

FLAGS = (
    *("--help", "--version", "--config-dir", "--cfg", "--package", "--resolve", "--info", "--run", "--multirun"),
    *("--resume", "--shell-completion"),
)
SHORT = {
    **{"-h": "--help", "-m": "--multirun", "-sc": "--shell-completion", "-c": "--cfg", "-cd": "--config-dir"},
    **{"-p": "--package", "-i": "--info", "-r": "--run", "-cn": "--config-name", "-cp": "--config-path"},
}
VALUED = {
    "--config-dir": "a folder",
    "--cfg": "job",
    "--package": "a key of the config, such as model",
    "--resume": "the folder of a sweep",
    "--shell-completion": "install=bash",
}
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
HYDRA_FLAGS = {
    "--config-name": "your own config is an experiment: -cd DIR experiment=NAME reads DIR/experiment/NAME.yaml",
    "--config-path": "add a folder of YAML with -cd DIR",
    "--experimental-rerun": "continue a run with dltrain resume RUN",
    "--hydra-help": "see dltrain --help, and dltrain --info=plugins",
}
"""Hydra's options that dltrain does not have, each with what to use instead."""

PASSES_ON = "launch"
"""The command whose words after -- are a command line of their own."""

OVERRIDE = re.compile(r"~[\w./@:-]|\+{0,2}[\w./@:-]*=", re.ASCII)


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    command: str
    named: bool  # whether the command was typed; otherwise it is train
    words: tuple[str, ...]
    overrides: tuple[str, ...]
    flags: Mapping[str, str]
    passed: tuple[str, ...] = ()  # after --


def parse_argv(argv: list[str], known: Mapping[str, Any]) -> CommandLine:
    """Parse a command line, or raise ConfigError for an unknown flag."""
    flags: dict[str, str] = {}
    rest: list[str] = []
    dashes = "--" in argv
    end = argv.index("--") if dashes else len(argv)
    argv, passed = argv[:end], argv[end + 1 :]
    waiting = iter(argv)
    for word in waiting:
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = SHORT.get(typed, typed)
        if name not in FLAGS or (equals and name not in (*VALUED, "--info")):
            raise ConfigError(_no_flag(word, typed, value))
        if name in VALUED and not equals:
            value = next(waiting, "")
        if name == "--info":
            value = _info(value if equals else waiting, rest)
        if name in VALUED and not value:
            raise ConfigError(f"{typed}: needs {VALUED[name]}: {typed} {VALUED[name]}")
        flags[name] = value
    command = next((w for w in rest if "=" not in w and not w.startswith("~")), None)
    taken = next((name for name in (command, str(command).replace("_", "-")) if name in known), None)
    named = taken is not None
    if named:
        rest.remove(str(command))
    chosen = taken or "train"
    if dashes and chosen != PASSES_ON:
        raise ConfigError(f"--: only dltrain {PASSES_ON} passes words on to another command line")
    overrides = tuple(w for w in rest if _is_override(w, chosen))
    words = tuple(w for w in rest if w not in overrides)
    return CommandLine(chosen, named, words, overrides, flags, tuple(passed))


def no_command(word: str, known: Mapping[str, Any], tree: Tree) -> str:
    """Say that the first word is not a command, and what may have been meant."""
    if Path(word).is_dir():
        return f"{word}: is a folder, not a command; with a run folder: dltrain evaluate {word}, or resume {word}"
    if is_file(word):
        return f"{word}: is a file, not a command; {reader(word) or READS}"
    groups = [group for group, choices in tree.items() if word in choices]
    if groups:
        return f"{word}: no such command; did you mean {groups[0]}={word}?"
    if word in tree or word in ENGINE:
        return f"{word}: needs a value: {word}={next(iter(tree[word])) if word in tree else '...'}"
    return f"{word}: no such command{nearest(word, known)} (commands: {', '.join(known)})"


def _is_override(word: str, command: str) -> bool:
    """Tell whether a word is key=value; for a command that takes a RUN it may be the name of a folder instead."""
    if not OVERRIDE.match(word):
        return False
    return command == "train" or not Path(word).exists()


def _info(value: Any, rest: list[str]) -> str:
    """Return the value of --info: after `=`, or the next word if it is one of the choices."""
    if not isinstance(value, str):
        following = next(value, None)
        if following not in INFO:
            rest += [following] if following is not None else []
            return "all"
        value = following
    if value not in INFO:
        raise ConfigError(f"--info={value}: must be one of {', '.join(INFO)}")
    return value


def _no_flag(word: str, typed: str, value: str) -> str:
    if (name := SHORT.get(typed, typed)) in HYDRA_FLAGS:
        return f"{typed}: dltrain has no such option; {HYDRA_FLAGS[name]}"
    key = typed.lstrip("-").replace("-", "_")
    if key in ENGINE or "." in key or value:
        return f"{word}: no such option; keys are written without dashes: {key}={value or '...'}"
    meant = close(typed, (*FLAGS, *SHORT)) if typed.startswith("--") else []
    return f"{word}: no such option" + (
        f"; did you mean {meant[0]}?" if meant else f" (options: {', '.join(FLAGS)})"
    )
