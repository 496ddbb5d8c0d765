"""Looking into a model: what goes into its innermost modules, and what comes out of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import nnx

Wrap = Callable[[str, nnx.Module, Callable[..., Any]], Callable[..., Any]]
"""(name, module, its call) -> what is called in place of it."""


def observe(model: nnx.Module, wrap: Wrap) -> None:
    """Wrap the calls of the modules that hold no other module, in this model alone.

    Each gets a class of its own, since Python looks `__call__` up there; the shared one is left as it is.
    """
    modules = list(nnx.iter_modules(model))
    for path, module in modules:
        if path and not any(p[: len(path)] == path and p != path for p, _ in modules):
            kind = type(module)
            call = _calling(kind, ".".join(map(str, path)), wrap)
            module.__class__ = type(kind.__name__, (kind,), {"__call__": call})


def _calling(kind: type, name: str, wrap: Wrap) -> Callable[..., Any]:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrap(name, self, partial(kind.__call__, self))(*args, **kwargs)

    return __call__
