"""Parses key=value by Hydra's grammar, and formats values in it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.config.folders import Tree
from dltrain.config.hints import show
from dltrain.config.request import Override
from dltrain.config.schema import Key, find_key
from dltrain.errors import ConfigError

NEEDS_SAMPLER = (
    "needs -m and a search, such as sweep=tpe (or hydra/sweeper=optuna: pip install hydra-optuna-sweeper); "
    "otherwise list the values: 1e-3,1e-2"
)

EXAMPLES = {
    "interval": "interval(1e-5,1e-1)",
    "tag": "tag(log,interval(1e-5,1e-1))",
    "int": "int(interval(1,8))",
    "range": "range(0,5)",
    "choice": "choice(a,b)",
}
"""Functions of the grammar that give a key several values."""

FUNCTION = re.compile(rf"({'|'.join(EXAMPLES)})\(")

HYDRA_TEXTS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.sweeper.study_name")
"""Hydra's own keys that hold text."""

NO_OPTIONS: Mapping[str, Key] = {}


def read_single(word: str, tree: Tree, options: Mapping[str, Key] = NO_OPTIONS) -> Override:
    """Read an override that holds one value, or raise ConfigError; `options` are the keys of the command itself."""
    o, sweep = read(word, tree, options)
    if sweep == []:
        raise ConfigError(f"{o.word}: a range to sample from; {NEEDS_SAMPLER}")
    if sweep is not None:
        text = o.text if not re.match(r"\w+\(", o.text) else "a,b"
        raise ConfigError(f"{o.word}: several values; -m trains a run for each, {o.key}=[{text}] passes a list")
    return o


def read(word: str, tree: Tree, options: Mapping[str, Key] = NO_OPTIONS) -> tuple[Override, list[Override] | None]:
    """Read an override; where it holds several values, return those of the sweep too (none for an interval)."""
    from hydra.core.override_parser.types import Glob, ValueType

    if word.startswith("~"):
        return _read_removal(word, tree), None
    key, _, text = word.lstrip("+").partition("=")
    key = _key(word, key, text)
    parsed, text = _parse(word, key, text, is_text=_takes_text(key, tree, options))
    plain = f"{key}={text}"
    if parsed.value_type == ValueType.GLOB_CHOICE_SWEEP:
        glob = parsed.value()
        names = glob.filter(list(tree.get(key, {}))) if isinstance(glob, Glob) else []
        if not names:
            raise ConfigError(f"{word}: matches no choice (choices: {', '.join(tree.get(key, {}))})")
        return read(f"{key}={','.join(names)}", tree, options)
    if parsed.is_sweep_override():
        discrete = parsed.is_discrete_sweep()
        each = parsed.sweep_string_iterator() if discrete else []
        values = [read(f"{key}={v}", tree, options)[0] for v in each]
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
        usual = "auto" if "auto" in tree[key] else next(iter(tree[key]))
        raise ConfigError(f"{word}: a run needs one; choose another: {key}={usual}")
    return Override(word, key, None, "null", removes=True)


def _parse(word: str, key: str, text: str, *, is_text: bool) -> tuple[Any, str]:
    """Parse a value; text outside the grammar is taken literally. Return it with the text that was parsed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    try:
        try:
            literal = as_text(text) if is_text else text
            return parser.parse_override(f"{key}={literal}"), literal
        except HydraException:
            if not text or text[0] in "[{'\"" or re.match(r"\w+\(", text):
                raise
            return parser.parse_override(f"{key}={quote(text)}"), quote(text)
    except (HydraException, RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        if function := FUNCTION.match(text):
            raise ConfigError(
                f"{show(word)}: cannot be parsed; right would be {EXAMPLES[function[1]]}, in quotes for the shell"
            ) from error
        raise ConfigError(
            f"{show(word)}: cannot be parsed; quote text that has brackets or other special characters: "
            f"\"{key}='...'\""
        ) from error


def _takes_text(key: str, tree: Tree, options: Mapping[str, Key]) -> bool:
    """Say whether a key holds text or the name of a choice."""
    known = options.get(key) or find_key(key)
    return known.kind.text if known else key in tree or key in HYDRA_TEXTS


def as_text(text: str) -> str:
    """Quote each item that Hydra's grammar would read as a number or a truth value: 1.10, 2024_01_05, true.

    What is quoted already, a reference or a function of the grammar stays as it is.
    """
    around = re.fullmatch(r"(\[|choice\()(.*)([\])])", text, re.DOTALL)
    before, inside, after = around.groups() if around else ("", text, "")
    items = [quote(item.strip()) if _is_value(item) else item for item in _items(inside)]
    return f"{before}{','.join(items)}{after}"


def _items(text: str) -> list[str]:
    """Part a text at the commas that are outside quotes and brackets."""
    items, depth, quoted = [""], 0, ""
    for sign in text:
        if quoted or sign in "'\"":
            quoted = "" if sign == quoted else quoted or sign
        depth += 0 if quoted else (sign in "([{") - (sign in ")]}")
        if sign == "," and not quoted and depth == 0:
            items.append("")
        else:
            items[-1] += sign
    return items


def _is_value(item: str) -> bool:
    """Say whether Hydra's grammar reads a word as something other than text or null."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if re.search(r"[\\'\"(){}\[\]]", item):
        return False
    try:
        return isinstance(OverridesParser.create().parse_rule(item.strip(), "primitive"), int | float)
    except HydraException:
        return False
    except ValueError:  # a number of thousands of digits
        return True


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
