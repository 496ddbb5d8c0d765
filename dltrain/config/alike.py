"""Composes many configs of which most differ in plain values: one as Hydra does, the others by changing a copy.

A copy is changed only where composing would do nothing else. All keys and parts are checked again; not what was not
typed, which is the same. What a check refuses is composed after all, which words the message.
"""

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dltrain.config.call import Composed
from dltrain.config.compose import check_overrides, check_whole, compose_written, make_origin
from dltrain.config.interpolation import has_references, leaf_values, to_yaml
from dltrain.config.request import Override, Request
from dltrain.config.texts import kept_texts
from dltrain.errors import ConfigError

DECIDE = ("epochs", "steps", "examples", "data.task", "data.recipe", "model.task")
"""Keys whose values decide on others: on the length of training, on the choices that `auto` stands for."""


@dataclass(frozen=True)
class _Kept:
    """A composed config, of which others are copies."""

    composed: Composed
    plain: dict[str, Any]  # as written
    chosen: dict[str, list[str]]


class Alike:
    """Composes the configs of one sweep, within which YAML and data stay as they are."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[tuple[Any, ...], _Kept] = {}

    def compose(self, request: Request) -> Composed:
        """Compose and check train.yaml with the overrides, as `config.compose.compose` does."""
        values = _plain_values(request)
        words = [o.key if o.key in values else o.typed for o in request.overrides]
        mark = (request.command, request.imports, request.folders, *words)
        if kept := self._kept.get(mark):
            with contextlib.suppress(ConfigError):
                return _changed(request, kept, values)
        composed, plain, chosen = compose_written(request)
        if _can_change(plain, values):
            self._kept[mark] = _Kept(composed, plain, chosen)
        return composed


def _plain_values(request: Request) -> dict[str, Any]:
    """Return the overrides that set one key to one value, which has no effect on other keys: key -> value."""
    typed = request.values()
    return {o.key: o.value for o in typed if _is_plain(o) and not any(_overlap(o.key, p.key) for p in typed)}


def _is_plain(o: Override) -> bool:
    value = o.value
    if o.removes or o.key in DECIDE or o.key.partition(".")[0] == "task":
        return False
    return isinstance(value, bool | int | float | None) or (isinstance(value, str) and not _refers(value))


def _refers(text: str) -> bool:
    return "${" in text or text == "???"


def _overlap(key: str, other: str) -> bool:
    """Tell whether one key holds the other."""
    return key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _can_change(plain: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Tell whether the composed values are those that were typed, and no reference reads them.

    The task of data with `task: auto` is looked up in the data, which their keys describe.
    """
    leaves = dict(leaf_values(plain))
    if has_references(plain) or "???" in map(str, leaves.values()):
        return False
    if any(key.startswith("data.") for key in values) and (plain.get("data") or {}).get("task") == "auto":
        return False
    return all(_get(plain, key) == (type(value), repr(value)) for key, value in values.items())


def _get(plain: Any, key: str) -> tuple[type, str] | None:
    """Return the type and the text of the value of a key inside mappings; None if there is none."""
    for name in key.split("."):
        if not isinstance(plain, Mapping) or name not in plain:
            return None
        plain = plain[name]
    return type(plain), repr(plain)


def _changed(request: Request, kept: _Kept, values: Mapping[str, Any]) -> Composed:
    """Return the kept config with these values, checked as a whole."""
    check_overrides(request)
    plain, origin = copy.deepcopy(kept.plain), make_origin(request, kept.chosen)
    _put(plain, values)
    _put(plain, kept_texts(plain, origin))
    config = copy.deepcopy(plain)
    check_whole(request, config, plain, origin, keep=lambda texts: _put(plain, texts))
    return Composed(
        config, to_yaml(plain), dict(kept.composed.choices), dict(kept.composed.automatic), request.trust
    )


def _put(plain: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set keys that exist."""
    for key, value in values.items():
        *parents, last = key.split(".")
        node: Any = plain
        for name in parents:
            node = node[name]
        node[last] = value
