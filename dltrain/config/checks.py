"""Checks of a composed config: unknown keys, values outside their range, arguments of targets.

A few lines over 300, since all of these walk over the same nodes and name a mistake by its origin in the same way.
"""

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config.folders import Tree, read_scalars, read_yaml
from dltrain.config.hints import nearest, show, unknown
from dltrain.config.schema import (
    ENGINE,
    GROUPS,
    MULTIPLE,
    SETTINGS,
    Key,
    find_key,
    group_keys,
    node_keys,
    parse,
    split_node,
)
from dltrain.errors import ConfigError

SINGLE = ("data", "model", "task", "loss", "optim", "schedule")
AWAITING = {
    "loss": ("outputs", "batch"),
    "metrics": ("outputs", "batch"),
    "schedule": ("step", "total"),
    "augment": ("batch", "key"),
    "callbacks": ("event",),
}
"""Group -> the arguments that its functions receive at run time."""

ANYTHING = [p.kind for p in inspect.signature(object.__init__).parameters.values()]  # of a class without __init__
INJECTED = {
    "data": (
        *("task", "validation", "test", "stateful", "memory_left", "group", "time", "split_column"),
        *("timeout", "for_evaluation"),
    ),
    "model": ("spec", "rngs"),
    "metrics": ("spec",),
    "task": ("quantiles",),
    "loss": ("microbatches",),
    "augment": ("spec", "scaled_by"),
    "optim": ("mask", "weight_decay_mask", "rules"),
    "schedule": ("scale",),
}
"""Group -> the arguments that the engine injects."""


@dataclass(frozen=True)
class Origin:
    """Where the keys of a config came from."""

    typed: Mapping[str, str]  # key on the command line -> its value as typed
    chosen: Mapping[str, Sequence[str]]
    tree: Tree
    folders: tuple[Path, ...]
    targets: Callable[[], Any]  # returns `dltrain.build.instantiate`, which imports jax

    def named(self, path: str) -> str:
        """Return ` (in FILE)` for a key of a file that was chosen, "" for a typed one."""
        if any(path == key or path.startswith(key + ".") for key in self.typed):
            return ""
        file = next((file for file, key in self._places(path) if _has(read_yaml(file), key)), None)
        return f" (in {file})" if file else ""

    def text_of(self, path: str) -> Any:
        """Return a key's value as it is written, typed or in a file: a text or a list of them; None if nowhere."""
        if path in self.typed:
            return self.typed[path]
        found = next((_at(read_scalars(f), key) for f, key in self._places(path) if _has(read_yaml(f), key)), None)
        return found if isinstance(found, str | list) else None

    def _places(self, path: str) -> list[tuple[Path, list[str]]]:
        """List the chosen files that may set a key, those that count first, each with the key's parts inside it."""
        group, _, inside = path.partition(".")
        whole = ("experiment", "recipe")  # whose files set keys of every group
        places = [(self.tree[kind][name], path) for kind in whole for name in self.chosen.get(kind, ())]
        places += [
            (self.tree[group][n], inside) for n in self.chosen.get(group, ()) if n in self.tree.get(group, {})
        ]
        return [(file, key.split(".")) for file, key in places if key]

    def listed(self, group: str, path: str) -> set[str]:
        """Return the keys of a node that the chosen part's YAML lists, if that file is built in and so tested."""
        found: set[str] = set()
        for file in (self.tree[group][n] for n in self.chosen.get(group, ()) if n in self.tree.get(group, {})):
            node: Any = read_yaml(file) if file.is_relative_to(self.folders[0]) else {}
            for part in path.split(".")[1:]:
                node = node.get(part, {})
            found |= set(node)
        return found


def flat(node: Mapping[str, Any], chosen: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """List every key of a config with its value, and every group with its choice."""
    found: dict[str, Any] = {group: ",".join(chosen.get(group, ())) or None for group in GROUPS}
    for key, value in node.items():
        found |= dict(_leaves(value, key))
    return found


def unknown_keys(
    config: Mapping[str, Any], written: Mapping[str, Any], origin: Origin, trust: Collection[str]
) -> list[str]:
    """List messages for unknown keys, each with the nearest known keys and their values as written."""
    tops = {key.split(".")[0] for key in ENGINE}
    wrong = [key for key in config if key not in tops and key not in GROUPS]
    for path in [key for key in ENGINE if "." in key]:
        parent = config.get(path.split(".")[0])
        inside = [f"{path.split('.')[0]}.{name}" for name in parent] if isinstance(parent, Mapping) else []
        wrong += [key for key in inside if key not in ENGINE and key not in wrong]
    known = flat(written, origin.chosen)
    wrong += [
        f"{group}.{key}" for group in SETTINGS for key in config.get(group) or {} if key not in node_keys(group)
    ]
    for group, path, node in _nodes(config):
        own = [key for key in node if key != "_target_" and key not in node_keys(group)]
        if not set(own) - origin.listed(group, path) or "_target_" not in node:
            strange = [path] if group in MULTIPLE else [f"{path}.{key}" for key in own]
            wrong += strange if "_target_" not in node else []
            continue
        takes, takes_any = _arguments(group, path, node, origin, trust)
        known |= {f"{path}.{name}": value for name, value in takes.items() if f"{path}.{name}" not in known}
        wrong += [f"{path}.{key}" for key in own if key not in takes and (not takes_any or key.startswith("_"))]
    for path in [k for k in known if any(k == w or k.startswith(w + ".") for w in wrong)]:
        del known[path]
    for path in (k for k in known if k.count(".") == 0 and k in MULTIPLE):
        known = known | {
            f"{path}.{name}": node.get("_target_")
            for name, node in written[path].items()
            if f"{path}.{name}" not in wrong and name not in group_keys(path)
        }
    return [_unchosen(path, origin) or _unknown(path, known, origin) for path in wrong]


def _unknown(path: str, known: Mapping[str, Any], origin: Origin) -> str:
    return unknown(path, known, value=str(origin.typed.get(path, ""))) + origin.named(path)


def _unchosen(path: str, origin: Origin) -> str:
    """Return the message for a key of a choice that was not chosen, such as metrics.f1; "" for other keys."""
    group, _, name = path.partition(".")
    if group not in MULTIPLE or name not in origin.tree.get(group, {}):
        return ""
    names = ",".join([*(n for n in origin.chosen.get(group, ()) if n != "none"), name])
    return f"{path}: is not chosen; choose it with {group}=[{names}]"


def check_keys(config: Mapping[str, Any], keys: Mapping[str, Key], written: Mapping[str, Any]) -> list[str]:
    """Convert the values of these keys in `config` to the engine's types, and list what is wrong."""
    return [message for _, message in _check(config, keys, written, "")]


def check_alone(path: str, value: Any) -> list[str]:
    """Check one value of one key, where that key is dltrain's own."""
    key = find_key(path)
    if key is None:
        return []
    try:
        parse(path, key, value)
    except ValueError as error:
        return [str(error)]
    return []


def check_values(config: Mapping[str, Any], written: Mapping[str, Any], origin: Origin) -> list[str]:
    """Convert and check every key that dltrain itself reads; messages name the file."""
    nodes = {f"{group}.{name}": key for group in MULTIPLE for name, key in group_keys(group).items()}
    found = list(_check(config, {**ENGINE, **nodes}, written, ""))
    for group, path, node in (*_nodes(config), *((group, group, config[group]) for group in SETTINGS)):
        plain: Any = written
        for part in path.split("."):
            plain = plain[part]
        found += _check(
            node, {name: key for name, key in node_keys(group).items() if name in node}, plain, f"{path}."
        )
    return [message + origin.named(path) for path, message in found]


def check_nodes(config: Mapping[str, Any], origin: Origin, trust: Collection[str]) -> dict[str, str]:
    """Import every target and check its arguments, or raise ConfigError.

    Returns the arguments that are annotated as text and were read as numbers, as they are written.
    """
    texts = {}
    for group, path, node in _nodes(config):
        if "_target_" not in node:
            raise ConfigError(f"{path}._target_: missing; it names what to build{origin.named(path)}")
        for name in origin.targets().numbers_for_text(node, path=path, trust=trust):
            if isinstance(text := origin.text_of(f"{path}.{name}"), str):
                texts[f"{path}.{name}"] = node[name] = text
        plain, _ = split_node(group, node)
        origin.targets().check(
            plain, path=path, trust=trust, awaiting=AWAITING.get(group, ()), injected=INJECTED.get(group, ())
        )
    return texts


def check_trainable_activations(model: Mapping[str, Any], origin: Origin, trust: Collection[str] = ()) -> list[str]:
    """List the activations of the model that would stop the layers below them from learning.

    An activation whose gradient is zero everywhere has an attribute `train_with`, see `dltrain.activations`.
    """
    found = []
    for key, value in model.items():
        if not value or ("activation" not in key and key != "output"):
            continue
        target = value.get("_target_") if isinstance(value, Mapping) else f"dltrain.activations.{value}"
        with contextlib.suppress(ConfigError):  # not an activation's name
            smooth = getattr(origin.targets().locate(target, path="model", trust=trust), "train_with", None)
            if smooth:
                name = str(target).rpartition(".")[2]
                found.append(
                    f"model.{key}={name}: its gradient is zero everywhere, so layers below it would not learn; "
                    f"train with {smooth}, its smooth form, or with model=perceptron, which decides by the sign "
                    f"of its score{origin.named(f'model.{key}')}"
                )
    return found


def _check(
    config: Mapping[str, Any], keys: Mapping[str, Key], written: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str]]:
    scalars: set[str] = set()
    for path, key in keys.items():
        *parents, last = path.split(".")
        node: Any = config
        plain: Any = written
        for name in parents:
            node = node.get(name) if isinstance(node, Mapping) else None
            plain = plain.get(name, {}) if isinstance(plain, Mapping) else {}
        if not isinstance(node, Mapping):
            if parents[0] not in scalars:
                yield parents[0], f"{parents[0]}={show(node)}: has keys of its own, such as {path}"
            scalars.add(parents[0])
            continue
        if last not in node:
            yield prefix + path, f"{prefix}{path}: missing"
            continue
        text = plain.get(last) if isinstance(plain, Mapping) else None
        shown = show(text) if "${" in str(text) else None  # the resolved value may be a secret
        try:
            node[last] = parse(prefix + path, key, node[last], shown)
        except ValueError as error:
            yield prefix + path, str(error)


def _nodes(config: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Go through the nodes that name a target: (group, path, node)."""
    for group in (*SINGLE, *MULTIPLE):
        node = config.get(group)
        if not isinstance(node, Mapping):
            raise ConfigError(
                f"{group}={show(node)}: must be one of the choices (dltrain list {group}), or a mapping"
            )
        inside = node.items() if group in MULTIPLE else [("", node)]
        nodes = [(name, one) for name, one in inside if name not in group_keys(group)]
        for name, one in nodes:
            path = f"{group}.{name}" if name else group
            if not isinstance(one, Mapping):
                others = [other for other in node if other != name]
                meant = nearest(name, others, prefix=group)
                raise ConfigError(
                    f"{path}={show(one)}: unknown{meant}; {group} has {', '.join(others) or 'no nodes'} now; a new "
                    "node must be a mapping"
                )
            yield group, path, one


def _arguments(
    group: str, path: str, node: Mapping[str, Any], origin: Origin, trust: Collection[str]
) -> tuple[dict[str, Any], bool]:
    """Return the arguments that the node's target takes from a config, and whether it accepts any name."""
    targets = origin.targets()
    given = (*AWAITING.get(group, ()), *INJECTED.get(group, ()))
    takes = {
        name: value for name, value in targets.accepts(node, path=path, trust=trust).items() if name not in given
    }
    target = targets.locate(node["_target_"], path=path, trust=trust)
    function = target.__init__ if inspect.isclass(target) else target  # a metaclass may hide a class's signature
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    return takes, inspect.Parameter.VAR_KEYWORD in kinds and kinds != ANYTHING


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or (not value and path not in GROUPS):
        yield path, value
        return
    for key, inner in value.items():
        if key != "_target_":
            yield from _leaves(inner, f"{path}.{key}")


def _has(node: Any, keys: Sequence[str]) -> bool:
    return _at(node, keys) is not ...


def _at(node: Any, keys: Sequence[str]) -> Any:
    """Return the value of a nested key, or `...` if the key does not exist."""
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return ...
        node = node[key]
    return node
