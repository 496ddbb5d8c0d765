"""Parses key=value by Hydra's grammar, and formats values in it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.config.folders import Tree
from dltrain.config.request import Override
from dltrain.errors import ConfigError

NEEDS_SAMPLER = (
    "needs -m and a sweeper that samples, such as hydra/sweeper=optuna (pip install hydra-optuna-sweeper); "
    "otherwise list the values: 1e-3,1e-2"
)


def read_single(word: str, tree: Tree) -> Override:
    """Parse an override that has one value, or raise ConfigError."""
    o, sweep = read(word, tree)
    if sweep == []:
        raise ConfigError(f"{o.word}: a range to sample from; {NEEDS_SAMPLER}")
    if sweep is not None:
        text = o.text if not re.match(r"\w+\(", o.text) else "a,b"
        raise ConfigError(f"{o.word}: several values; -m trains a run for each, {o.key}=[{text}] passes a list")
    return o


def read(word: str, tree: Tree) -> tuple[Override, list[Override] | None]:
    """Parse an override; also return the values of a sweep, if it has several (none for an interval)."""
    from hydra.core.override_parser.types import Glob, ValueType

    if word.startswith("~"):
        return _read_removal(word, tree), None
    key, _, text = word.lstrip("+").partition("=")
    key = _key(word, key, text)
    parsed, text = _parse(word, key, text)
    plain = f"{key}={text}"
    if parsed.value_type == ValueType.GLOB_CHOICE_SWEEP:
        glob = parsed.value()
        names = glob.filter(list(tree.get(key, {}))) if isinstance(glob, Glob) else []
        if not names:
            raise ConfigError(f"{word}: matches no choice (choices: {', '.join(tree.get(key, {}))})")
        return read(f"{key}={','.join(names)}", tree)
    if parsed.is_sweep_override():
        discrete = parsed.is_discrete_sweep()
        values = [read(f"{key}={v}", tree)[0] for v in parsed.sweep_string_iterator()] if discrete else []
        return Override(plain, key, None, text), values
    return Override(plain, key, parsed.value(), text), None


def _key(word: str, key: str, text: str) -> str:
    """Return the key of a word; group@package is allowed only for the group's own package."""
    group, at, package = key.partition("@")
    if at and package in (group, "_group_"):
        return group
    if at:
        raise ConfigError(f"{word}: each part has one place in dltrain's config, that of its group: {group}={text}")
    if ":" in key or not key:
        raise ConfigError(f"{word}: must be group=choice or key=value")
    return key


def _read_removal(word: str, tree: Tree) -> Override:
    """Parse ~group or ~key, with or without the value that is removed."""
    key = word[1:].partition("=")[0]
    if key in ("augment", "callbacks"):
        return Override(word, key, "none", "none")
    if key == "experiment":
        return Override(word, key, None, "null")
    if key in tree:
        raise ConfigError(f"{word}: a run needs one; choose another: {key}={next(iter(tree[key]))}")
    return Override(word, key, None, "null", removes=True)


def _parse(word: str, key: str, text: str) -> tuple[Any, str]:
    """Parse a value; text outside the grammar is taken literally. Return it with the text that was parsed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    try:
        try:
            return parser.parse_override(f"{key}={text}"), text
        except HydraException:
            if not text or text[0] in "[{'\"" or re.match(r"\w+\(", text):
                raise
            return parser.parse_override(f"{key}={quote(text)}"), quote(text)
    except (HydraException, RecursionError) as error:
        raise ConfigError(
            f"{word}: cannot be parsed; quote text that has brackets or other special characters: \"{key}='...'\""
        ) from error


def quote(text: str) -> str:
    """Quote text by Hydra's grammar."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _escaped(key: str) -> str:
    """Escape a key of a mapping, where the grammar has no quotes."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", key)


def write(value: Any) -> str:
    """Format a Python value in Hydra's grammar, so that parsing it returns an equal value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_escaped(str(k))}:{write(v)}' for k, v in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(write, value))}]"
    return quote(str(value))
