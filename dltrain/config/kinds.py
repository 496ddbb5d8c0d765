"""The kinds of value that a key may hold: each in words, and as a function that checks and converts one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dltrain.durations import Duration

LARGEST = 3.4e38  # of float32, in which these values are used
MOST = 2**31 - 1  # of int32, in which steps are counted
CLIPS = ("norm", "block", "value", "adaptive")


@dataclass(frozen=True)
class Kind:
    """A set of values: in words, and as a function that returns one as the engine wants it or raises ValueError.

    `text` says that the values are texts, or lists of them, which are kept exactly as typed: 1.10 is not 1.1.
    """

    words: str
    parse: Callable[[Any], Any]
    text: bool = False


def whole(low: int, high: int | None = None) -> Kind:
    """Whole numbers from `low`, at most MOST unless `high` says otherwise; 1e3 counts as one."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise ValueError
        if value < low or (high is not None and value > high):
            raise ValueError
        if high is None and value > MOST:
            raise ValueError(f"must be at most {MOST:,}")
        return int(value)

    return Kind(f"a whole number ≥ {low}" if high is None else f"a whole number from {low} to {high}", parse)


def number(*, above: float | None = None, low: float | None = None, below: float | None = None) -> Kind:
    """Finite numbers within the bounds."""
    bounds = [f"{sign} {edge:g}" for sign, edge in ((">", above), ("≥", low), ("<", below)) if edge is not None]

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise ValueError  # nan too
        outside = (above is not None and value <= above) or (low is not None and value < low)
        if outside or (below is not None and value >= below):
            raise ValueError
        return float(value)

    return Kind(f"a finite number {' and '.join(bounds)}".rstrip(), parse)


def one_of(*words: str) -> Kind:
    """One of these words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError
        return value

    return Kind(f"one of {', '.join(words)}", parse)


def optional(kind: Kind) -> Kind:
    """That, or null."""
    return Kind(f"{kind.words}, or null", lambda value: None if value is None else kind.parse(value), kind.text)


def either(word: str, kind: Kind) -> Kind:
    """That, or one special word."""
    return Kind(f"{word}, or {kind.words}", lambda value: value if value == word else kind.parse(value))


def listing(kind: Kind) -> Kind:
    """A list of those; a single one counts as a list of one."""

    def parse(value: Any) -> list[Any]:
        if isinstance(value, Mapping) or value is None:
            raise ValueError
        return [kind.parse(item) for item in (value if isinstance(value, list | tuple) else [value])]

    return Kind(f"a list, each {kind.words}", parse, kind.text)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | Mapping | list) or not str(value) or "\0" in str(value):
        raise ValueError
    return str(value)


def _name(value: Any) -> str:
    if re.search(r"[/\\\0\n]", _text(value)) or str(value).startswith(".") or len(str(value)) > 100:
        raise ValueError
    return str(value)


def _package(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", value):
        raise ValueError
    return value


def _duration(value: Any) -> Any:
    Duration.parse(value)
    return value


def _interval(value: Any) -> Any:
    if Duration.parse(value).steps(1) is None:
        raise ValueError
    return value


def _time(value: Any) -> Any:
    if Duration.parse(value).seconds is None:
        raise ValueError
    return value


def _clip(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= set(CLIPS):
        raise ValueError
    return {name: number(above=0).parse(bound) for name, bound in value.items()}


def _mesh(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping) or not value or not set(value) <= {"data", "fsdp", "model"}:
        raise ValueError
    return {name: whole(1).parse(count) for name, count in value.items()}


def _hosts(value: Any) -> dict[str, Any]:
    kinds = {"coordinator": _text, "count": whole(1).parse, "index": whole(0).parse, "local": _flag}
    if not isinstance(value, Mapping) or not set(value) <= set(kinds) or {*kinds} - {*value} - {"local"}:
        raise ValueError
    return {name: kinds[name](part) for name, part in value.items()}


def _step(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not isinstance(value.get("_target_"), str):
        raise ValueError
    return dict(value)


def _rule(value: Any) -> dict[str, Any]:
    factor = number(low=0).parse
    return _matching(value, {"match": _text, "scale": factor, "decay": factor, "freeze": _flag})


def _division(value: Any) -> dict[str, Any]:
    return _matching(value, {"match": _text, "axis": optional(whole(0, 16)).parse})


def _matching(value: Any, kinds: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Parse `match`, a regular expression, and at least one other key."""
    if not isinstance(value, Mapping) or "match" not in value or len(value) < 2 or not set(value) <= set(kinds):
        raise ValueError
    try:
        re.compile(_text(value["match"]))
    except (re.error, RecursionError, OverflowError) as error:  # the last two: nested too deeply, a huge {n}
        raise ValueError from error
    return {name: kinds[name](v) for name, v in value.items()}


def _groups(value: Any) -> dict[str, dict[str, Any]]:
    kinds = {
        "every": whole(1).parse,
        "learning_rate": number(above=0).parse,
        "weight_decay": number(low=0).parse,
    }
    if not isinstance(value, Mapping) or not all(isinstance(own, Mapping) for own in value.values()):
        raise ValueError
    return {
        name: {key: kinds[key](v) if key in kinds else v for key, v in own.items()} for name, own in value.items()
    }


FLAG = Kind("true or false", _flag)
TEXT = Kind("text", _text, text=True)
NAME = Kind("a name of at most 100 characters without / and not beginning with a dot", _name, text=True)
DURATION = Kind("a number of steps (100), epochs (1ep) or a time (2h, 5min, 30s), more than 0", _duration)
INTERVAL = Kind("a number of steps (100) or epochs (1ep), more than 0", _interval)
CLIP = Kind(f"{{{', '.join(CLIPS[:-1])} or {CLIPS[-1]}: x}} with x > 0", _clip)
TIME = Kind("a time (2h, 5min, 30s), more than 0", _time)
MESH = Kind("{data: d, fsdp: f, model: m}, numbers of devices ≥ 1", _mesh)
DIVISION = Kind("{match: regular expression of names, axis: 0, 1, ... or null}", _division)
HOSTS = Kind("{coordinator: HOST:PORT, count: number of processes, index: of this one, from 0}", _hosts)
RULE = Kind(
    "{match: regular expression of names, and freeze: true, scale: factor of the learning rate or decay: factor of "
    "the weight decay}",
    _rule,
)
PARAMETER_GROUPS = Kind(
    "{part of the model: {every: steps ≥ 1, learning_rate: x > 0, and other arguments of the optimizer}, ...}",
    _groups,
)
STEP = Kind("{_target_: dotted name of a class, and its options}", _step)
PACKAGE = Kind("the dotted name of a Python package", _package)
