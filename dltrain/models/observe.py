"""Hooks on the calls of a model's modules, to observe or replace their outputs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import nnx

Wrap = Callable[[str, nnx.Module, Callable[..., Any]], Callable[..., Any]]
"""(name, module, its call) -> the function to call instead."""


def observe(model: nnx.Module, wrap: Wrap, *, containers: bool = False) -> None:
    """Wrap the calls of the modules that contain no other module, in this model only; with `containers` of all.

    Each module gets its own subclass, since Python looks up `__call__` on the class; the original is unchanged.
    """
    modules = list(nnx.iter_modules(model))
    for path, module in modules:
        innermost = not any(p[: len(path)] == path and p != path for p, _ in modules)
        if path and (innermost or (containers and callable(module))):
            kind = type(module)
            call = _calling(kind, ".".join(map(str, path)), wrap)
            module.__class__ = type(kind.__name__, (kind,), {"__call__": call})


def _calling(kind: type, name: str, wrap: Wrap) -> Callable[..., Any]:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrap(name, self, partial(kind.__call__, self))(*args, **kwargs)

    return __call__


def replace_method(model: nnx.Module, kind: type, name: str, wrap: Wrap) -> None:
    """Wrap a method of all modules of a class, in this model only; `wrap` gets the method in place of the call."""
    for path, module in nnx.iter_modules(model):
        if isinstance(module, kind):
            own, where = type(module), ".".join(map(str, path))
            module.__class__ = type(own.__name__, (own,), {name: _method(own, name, where, wrap)})


def _method(kind: type, name: str, where: str, wrap: Wrap) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrap(where, self, partial(getattr(kind, name), self))(*args, **kwargs)

    return method
