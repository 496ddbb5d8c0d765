"""Extra arguments of an optimizer besides the gradient, read from its code, so that none is computed in vain."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import jax
import optax

from dltrain.tree import Tree
from dltrain.types import Array

ELSEWHERE = ("value_fn", "grad_fn")  # needed by optimizers that evaluate the loss at other points
NEEDS = ("value", "grad", *ELSEWHERE)


def needs(transform: optax.GradientTransformation) -> frozenset[str]:
    """Return which of `value, grad, value_fn, grad_fn` the `update` takes, also inside nested chains.

    Transformations are functions over functions (`optax.chain` keeps its parts in a closure), and each has its
    keyword arguments in its signature; so user-defined ones need no declaration.
    """
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [transform.update]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            keywords = inspect.signature(value).parameters.values()
            found |= {p.name for p in keywords if p.kind is p.KEYWORD_ONLY and p.name in NEEDS}
            waiting += [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        elif isinstance(value, tuple | list):
            waiting += value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(wrapped := getattr(value, "func", None), FunctionType):  # functools.partial
            waiting.append(wrapped)
    return frozenset(found)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def extras(
    transform: optax.GradientTransformation,
    value: Array,
    grads: Tree,
    evaluate: Callable[[Tree], tuple[Array, Tree]],
) -> dict[str, Any]:
    """Return the extra arguments of `transform`; `evaluate` maps parameters to (loss, gradients) of the batch."""

    @jax.custom_vjp
    def value_fn(params: Tree) -> Array:
        return evaluate(params)[0]

    # The gradient as computed by the step, in microbatches where it uses them.
    value_fn.defvjp(evaluate, lambda grads, by: (jax.tree.map(lambda g: (by * g).astype(g.dtype), grads),))

    def grad_fn(params: Tree, step: int = 0) -> Tree:
        del step  # an argument of SAM
        return evaluate(params)[1]

    available = {"value": value, "grad": grads, "value_fn": value_fn, "grad_fn": grad_fn}
    return {name: available[name] for name in needs(transform)}
