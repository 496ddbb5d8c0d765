"""Construction of objects from YAML nodes with `_target_`; an allowlist restricts the targets.

A node is a mapping: `_target_` names a class or function, the other keys are its keyword arguments. Arguments are
bound against the signature before anything is called, so that the message for a mistyped name lists the valid ones.
"""

import collections.abc
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dltrain.build.annotations import admitted, members, named_in, words
from dltrain.build.library import range_of
from dltrain.build.locate import locate
from dltrain.config.hints import nearest
from dltrain.config.synonyms import KEYS, VALUES
from dltrain.errors import ConfigError, DltrainError
from dltrain.places import raised_in
from dltrain.ranges import Range, Traceable
from dltrain.types import NamedIn


def build(
    node: Mapping[str, Any],
    *,
    path: str,
    trust: Collection[str] = (),
    numbers: Mapping[str, Any] | None = None,
    **injected: Any,
) -> Any:
    """Construct what `node` names.

    Args:
        node: `_target_` and its arguments; nested nodes are built first.
        path: position of the node in the config, for messages (`model`).
        trust: user packages that are allowed besides the allowlist.
        numbers: values that take the place of checked arguments, by their keys in the config.
        **injected: values passed if the target has a parameter of that name and the node does not set it.
    """
    target, arguments = _bound(node, path=path, trust=trust, injected=injected)
    _inject(target, arguments, injected)
    _replace(arguments, numbers, path)
    try:
        return target(**arguments)
    except DltrainError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except Exception as error:
        by_system = isinstance(error, MemoryError | OSError | RuntimeError)  # that of jax is one, too
        if by_system and not raised_in(error, trust):
            raise
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error  # from these arguments


def bind(
    node: Mapping[str, Any],
    *,
    path: str,
    trust: Collection[str] = (),
    numbers: Mapping[str, Any] | None = None,
    **injected: Any,
) -> Callable[..., Any]:
    """Bind the options of the function that `node` names; its run-time arguments stay open.

    `numbers` and `injected` are used as in `build`.
    """
    target, arguments = _bound(node, path=path, trust=trust, injected=injected, partial=True)
    _inject(target, arguments, injected)
    _replace(arguments, numbers, path)
    return functools.partial(target, **arguments) if arguments else target


def _inject(target: Callable[..., Any], arguments: dict[str, Any], injected: Mapping[str, Any]) -> None:
    wanted = _parameters(target)
    for name, value in injected.items():
        if name in wanted and name not in arguments:
            arguments[name] = value


def _replace(arguments: dict[str, Any], numbers: Mapping[str, Any] | None, path: str) -> None:
    for name in arguments:
        if numbers and f"{path}.{name}" in numbers:
            arguments[name] = numbers[f"{path}.{name}"]


def is_function(node: Mapping[str, Any], *, path: str, trust: Collection[str] = ()) -> bool:
    """Tell whether `node` names a plain function (to be bound) rather than a class (to be built)."""
    return not inspect.isclass(locate(node["_target_"], path=path, trust=trust))


def check(
    node: Mapping[str, Any],
    *,
    path: str,
    trust: Collection[str] = (),
    awaiting: Collection[str] = (),
    injected: Collection[str] = (),
    partial: bool = False,
) -> None:
    """Raise ConfigError unless the node can be built or bound: valid names and types, and no argument missing.

    Args:
        node: the node.
        path: its position in the config.
        trust: user packages that are allowed.
        awaiting: run-time arguments that a function gets later (`outputs`, `batch`).
        injected: arguments that the engine passes (`spec`, `rngs`).
        partial: whether arguments may be missing, as of a function inside a node.
    """
    nested = (
        [name for name in node if isinstance(node[name], Mapping) and "_target_" in node[name]]
        if (isinstance(node, Mapping))
        else []
    )
    for name in nested:  # only checked: building a nested source would read its data
        check(node[name], path=f"{path}.{name}", trust=trust, partial=True)
    plain = {name: value for name, value in node.items() if name not in nested} if nested else node
    _bound(plain, path=path, trust=trust, injected=(*awaiting, *injected, *nested), partial=partial)


def accepts(node: Mapping[str, Any], *, path: str, trust: Collection[str] = ()) -> dict[str, Any]:
    """Return the arguments of the node's target with their current values (the node's, else the default)."""
    target = locate(node["_target_"], path=path, trust=trust)
    return {
        name: node.get(name, None if p.default is p.empty else p.default)
        for name, p in _parameters(target).items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }


def traceable(node: Mapping[str, Any], *, path: str, trust: Collection[str] = ()) -> list[str]:
    """List the arguments of the node that may be traced values."""
    wanted = _parameters(locate(node["_target_"], path=path, trust=trust))
    return [name for name in node if name in wanted and _has_mark(wanted[name].annotation, Traceable)]


def _has_mark(annotation: Any, kind: type) -> bool:
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_has_mark(option, kind) for option in options)
    return typing.get_origin(annotation) is typing.Annotated and any(isinstance(o, kind) for o in options[1:])


def numbers_for_text(node: Mapping[str, Any], *, path: str, trust: Collection[str] = ()) -> list[str]:
    """List the node's arguments that hold a number, or a truth value, although only text is admitted."""
    target = locate(node["_target_"], path=path, trust=trust)
    wanted = _parameters(target)
    held = [name for name, value in node.items() if isinstance(value, int | float) and name in wanted]
    return [name for name in held if _admits_only_text(wanted[name].annotation)]


def _admits_only_text(annotation: Any) -> bool:
    options = set(typing.get_args(annotation)) or {annotation}
    return str in options and options <= {str, types.NoneType}


def describe(node: Mapping[str, Any], *, path: str, trust: Collection[str] = ()) -> dict[str, str]:
    """Return the arguments that the node's target takes, each with the values that it admits, in words."""
    target = locate(node["_target_"], path=path, trust=trust)
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: words(p.annotation) for name, p in _parameters(target).items() if p.kind not in kinds}


@functools.cache
def _parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    of_class = inspect.isclass(target)  # a metaclass may hide the signature of __init__, as nnx.Module's does
    if of_class and target.__init__ is object.__init__:
        return {}
    function = target.__init__ if of_class else target
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, TypeError):  # a library's annotations that only a type checker can resolve
        signature = inspect.signature(function)
    parameters = list(signature.parameters.items())[1 if of_class else 0 :]
    module = _module_of(target)
    return {name: _ranged(p, module) for name, p in parameters if p.kind is not p.POSITIONAL_ONLY}


def _module_of(target: Any) -> str:
    while isinstance(target, functools.partial):  # optax.nadam is one, over optax.adam
        target = target.func
    return getattr(target, "__module__", None) or ""


def _ranged(parameter: inspect.Parameter, module: str) -> inspect.Parameter:
    """Give an argument of a library function the annotation that dltrain knows for it."""
    if (known := range_of(module, parameter.name)) is None:
        return parameter
    optional = parameter.default is None or types.NoneType in typing.get_args(parameter.annotation)
    return parameter.replace(annotation=known | None if optional else known)


def _bound(
    node: Mapping[str, Any], *, path: str, trust: Collection[str], injected: Collection[str], partial: bool = False
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Locate the target and convert its arguments; with `partial`, arguments may be missing."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{path}: expected a mapping with _target_, found {node!r}")
    target = locate(node["_target_"], path=path, trust=trust)
    wanted = _parameters(target)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in wanted.values())
    arguments = {}
    for name, value in node.items():
        if name == "_target_":
            continue
        known = name in wanted and wanted[name].kind is not inspect.Parameter.VAR_KEYWORD
        if not known and (not takes_any or name.startswith("_")):
            names = [n for n, p in wanted.items() if n not in injected and p.kind is not p.VAR_KEYWORD]
            takes = ", ".join(names) or "no arguments"
            raise ConfigError(
                f"{path}.{name}: unknown; {node['_target_']} takes {takes}{_near_name(name, names, path)}"
            )
        annotation = wanted[name].annotation if known else inspect.Parameter.empty
        arguments[name] = _convert(value, annotation, f"{path}.{name}", trust)
    if not partial:
        for name, p in wanted.items():
            optional = p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            if not optional and name not in arguments and name not in injected:
                raise ConfigError(f"{path}.{name}: missing; {node['_target_']} needs it")
    return target, arguments


def _convert(value: Any, annotation: Any, path: str, trust: Collection[str]) -> Any:
    """Convert a YAML value to the type of the annotation, or raise ConfigError with the valid values."""
    fits, result = _fit(value, annotation, path, trust)
    if not fits:
        raise ConfigError(f"{path}={_shown(value)}: must be {words(annotation)}{_near_member(value, annotation)}")
    return result


def _fit(value: Any, annotation: Any, path: str, trust: Collection[str]) -> tuple[bool, Any]:
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        if named := named_in(annotation):
            return _fit_named(value, named, path, trust)
        fits, result = _fit(value, options[0], path, trust)
        ranges = [mark for mark in options[1:] if isinstance(mark, Range)]
        return fits and all(one.holds(result) for one in ranges), result
    if origin in (typing.Union, types.UnionType):
        return next((r for o in options if (r := _fit(value, o, path, trust))[0]), (False, None))
    if isinstance(value, Mapping) and "_target_" in value:
        return True, build(value, path=path, trust=trust)
    if annotation is None or annotation is types.NoneType:
        return value is None, None
    if origin is typing.Literal:
        return value in options, value
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        found = next((m for m in annotation if m.value == value), None)
        return found is not None, found
    if annotation is bool or annotation is str:
        return isinstance(value, annotation), value
    if annotation is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool), int(value) if whole else None
    if annotation is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, float(value) if number else None
    if origin in (tuple, list, Sequence):
        return _fit_items(value, options, path, trust)
    if origin is collections.abc.Callable or getattr(annotation, "_is_protocol", False):  # only a node makes one
        return not isinstance(value, str | int | float | list | Mapping | None), value
    return not (annotation in (jax.Array, np.ndarray) and isinstance(value, str)), value


def _fit_items(value: Any, options: tuple[Any, ...], path: str, trust: Collection[str]) -> tuple[bool, Any]:
    if not isinstance(value, list | tuple):
        return False, None
    if len(options) == 2 and options[1] is not Ellipsis and len(value) != 2:
        return False, None
    kinds = options if len(options) == 2 and options[1] is not Ellipsis else (options[0],) * len(value)
    items = [_fit(v, kind, f"{path}[{i}]", trust) for i, (v, kind) in enumerate(zip(value, kinds, strict=True))]
    return all(fits for fits, _ in items), tuple(item for _, item in items)


def _fit_named(value: Any, named: NamedIn, path: str, trust: Collection[str]) -> tuple[bool, Any]:
    if isinstance(value, Mapping):
        make = build if named.call else bind
        return True, make(value, path=path, trust=trust)
    if not isinstance(value, str):
        return False, None
    found = members(named).get(value)
    return found is not None, found() if found and named.call else found


def _near_name(name: str, names: Sequence[str], path: str) -> str:
    """Return the argument that a wrong name most likely means, also if other tools call it that."""
    meant = {theirs: tuple(ours.rpartition(".")[2] for ours in places) for theirs, places in KEYS.items()}
    return nearest(name, names, prefix=path, names=meant)


def _near_member(value: Any, annotation: Any) -> str:
    return nearest(value, admitted(annotation), names=VALUES) if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
