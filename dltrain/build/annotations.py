"""Annotations of the arguments of parts, in words: what messages and help say about the values they admit."""

import enum
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from dltrain.ranges import Range
from dltrain.types import NamedIn


def members(named: NamedIn) -> dict[str, Callable[..., Any]]:
    """Return the functions that an argument chooses from, by name."""
    module = importlib.import_module(named.module)
    return {name: getattr(module, name) for name in module.__all__}


def named_in(annotation: Any) -> NamedIn | None:
    """Return the mark of an argument that is given by the name of a function, or None."""
    options = (annotation, *typing.get_args(annotation))
    found = [a for o in options if typing.get_origin(o) is typing.Annotated for a in typing.get_args(o)[1:]]
    return next((a for a in found if isinstance(a, NamedIn)), None)


def admitted(annotation: Any) -> list[str]:
    """List the words that an annotation admits."""
    if named := named_in(annotation):
        return list(members(named))
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return [str(member.value) for member in annotation]
    inside = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [option for option in inside if isinstance(option, str)]
    return [word for option in inside for word in admitted(option)]


def words(annotation: Any) -> str:
    """Describe the values that an annotation admits: a number ≥ 0, one of small, large, a list, ..."""
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is inspect.Parameter.empty:
        return "any value"
    if named := named_in(annotation):
        also = " or null" if types.NoneType in options else ""
        return f"one of {', '.join(members(named))}{also}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(o) for o in options)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, options))}" if len(options) > 1 else str(options[0])
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return f"one of {', '.join(str(m.value) for m in annotation)}"
    if origin is typing.Annotated:
        return _words_in_range(options[0], [mark for mark in options[1:] if isinstance(mark, Range)])
    if origin in (tuple, list, Sequence):
        return _words_of_list(options, words(options[0])) if options else "a list"
    if getattr(annotation, "_is_protocol", False):
        return f"keys with _target_, which names a {annotation.__name__}"
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _words_of_list(options: tuple[Any, ...], each: str) -> str:
    pair = len(options) == 2 and options[1] is not Ellipsis
    return f"a list of two, each {each}" if pair else f"a list, each {each}"


def _words_in_range(annotation: Any, ranges: Sequence[Range]) -> str:
    """Describe a number, or the numbers of a list, in a range."""
    options = typing.get_args(annotation)
    kind = options[0] if options else annotation
    if not ranges or kind not in (int, float):
        return words(annotation)
    each = " and ".join(one.words(whole=kind is int) for one in ranges)
    return _words_of_list(options, each) if options else each
