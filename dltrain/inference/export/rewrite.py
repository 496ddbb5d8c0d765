"""Rewriting of operations that jax2onnx cannot convert with a free batch dimension, as others that it can.

Padding becomes a concatenation, and pooling the maximum or the sum of shifted slices. Calls of functions are
inlined, so that their operations are found.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


def simplified(closed: Any) -> Callable[..., list[Array]]:
    """Return a function of the inputs of a closed jaxpr that does the same in operations that jax2onnx converts."""

    def run(*inputs: Array) -> list[Array]:
        return _evaluate(closed.jaxpr, closed.consts, inputs)

    return run


def _evaluate(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
    for equation in _needed(jaxpr):
        given = [var.val if hasattr(var, "val") else values[var] for var in _operands(equation)]
        values |= zip(equation.outvars, _apply(equation, given), strict=True)
    return [var.val if hasattr(var, "val") else values[var] for var in jaxpr.outvars]


def _needed(jaxpr: Any) -> list[Any]:
    """Return the equations that lead to the outputs, in order; jax2onnx would convert the others, too."""
    live, found = {var for var in jaxpr.outvars if not hasattr(var, "val")}, []
    for equation in reversed(jaxpr.eqns):
        if live & set(equation.outvars):
            found.append(equation)
            live |= {var for var in _operands(equation) if not hasattr(var, "val")}
    return found[::-1]


def _operands(equation: Any) -> list[Any]:
    """Return the operands; not the empty ones of a concatenation, which jax2onnx would take for one element."""
    if equation.primitive.name != "concatenate":
        return equation.invars
    filled = [var for var in equation.invars if 0 not in var.aval.shape]
    return filled or equation.invars


def _apply(equation: Any, given: list[Any]) -> Sequence[Any]:
    params = equation.params
    if (inner := next((params[name] for name in CALLS if name in params), None)) is not None:
        if equation.primitive.name in INLINED:
            return _evaluate(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)
    rule = RULES.get(equation.primitive.name)
    if rule is not None and (found := rule(*given, **params)) is not None:
        return [found]
    if equation.primitive.name in LOOPS:
        params = {name: _inside(value) for name, value in params.items()}
    options = equation.primitive.get_bind_params(params)
    functions, options = options if isinstance(options, tuple) else ((), options)  # a dict from jax 0.10.2 on
    found = equation.primitive.bind(*functions, *given, **options)
    return found if equation.primitive.multiple_results else [found]


def _inside(value: Any) -> Any:
    """Rewrite the body of a loop or a branch."""
    if isinstance(value, tuple):
        return tuple(map(_inside, value))
    return jax.make_jaxpr(simplified(value))(*value.in_avals) if hasattr(value, "in_avals") else value


def _pad(x: Array, fill: Array, *, padding_config: Sequence[tuple[int, int, int]]) -> Array | None:
    if any(inside for _, _, inside in padding_config):
        return None
    return _padded(x, fill, [(low, high) for low, high, _ in padding_config])


def _padded(x: Array, fill: Array, pads: Sequence[tuple[int, int]]) -> Array:
    for axis, (low, high) in enumerate(pads):
        x = _padded_along(x, fill, axis, low, high) if low or high else x
    return x


def _padded_along(x: Array, fill: Array, axis: int, low: int, high: int) -> Array:
    """Pad one axis; negative numbers cut."""
    start, stop = max(0, -low), x.shape[axis] - max(0, -high)
    x = lax.slice_in_dim(x, start, stop, axis=axis) if low < 0 or high < 0 else x

    def room(size: int) -> list[Array]:
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        return [jnp.broadcast_to(fill, shape)] if size > 0 else []

    return jnp.concatenate([*room(low), x, *room(high)], axis)


def _gather(
    operand: Array, indices: Array, *, dimension_numbers: Any, slice_sizes: Sequence[int], mode: Any, **others: Any
) -> Array | None:
    """Gather single elements of many rows, as `jnp.interp` of several columns does, from the flattened operand."""
    del others
    numbers, batch = dimension_numbers, dimension_numbers.operand_batching_dims
    if set(slice_sizes) != {1} or not batch or "FILL" in str(mode):
        return None
    shape, indices = operand.shape, indices.astype(jnp.int32)
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    flat = jnp.zeros((1,) * (indices.ndim - 1), jnp.int32)
    for part, axis in enumerate(numbers.start_index_map):
        flat = flat + jnp.clip(indices[..., part], 0, shape[axis] - 1) * strides[axis]
    for axis, along in zip(batch, numbers.start_indices_batching_dims, strict=True):
        places = [-1 if i == along else 1 for i in range(indices.ndim - 1)]
        flat = flat + jnp.arange(shape[axis], dtype=jnp.int32).reshape(places) * strides[axis]
    return jnp.expand_dims(jnp.take(operand.reshape(-1), flat, mode="clip"), tuple(map(int, numbers.offset_dims)))


def _pooled(combine: Callable[[Array, Array], Array], fill: float) -> Callable[..., Array | None]:
    def pool(
        x: Array,
        *,
        window_dimensions: Sequence[int],
        window_strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
        base_dilation: Sequence[int],
        window_dilation: Sequence[int],
        **others: Any,
    ) -> Array | None:
        if others or {*base_dilation, *window_dilation} != {1}:
            return None
        x = _padded(x, jnp.asarray(fill, x.dtype), padding)
        sizes = [
            None if window == 1 and stride == 1 else (x.shape[axis] - window) // stride + 1
            for axis, (window, stride) in enumerate(zip(window_dimensions, window_strides, strict=True))
        ]

        def tap(*at: int) -> Array:
            found = x
            for axis, (start, size, stride) in enumerate(zip(at, sizes, window_strides, strict=True)):
                if size is not None:
                    stop = start + (size - 1) * stride + 1
                    found = lax.slice_in_dim(found, start, stop, stride, axis)
            return found

        return reduce(combine, (tap(*at) for at in product(*map(range, window_dimensions))))

    return pool


CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
INLINED = ("pjit", "jit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
LOOPS = ("scan", "while", "cond")
RULES: dict[str, Callable[..., Array | None]] = {
    "gather": _gather,
    "lt_to": lax.lt,  # differs for NaN and the sign of 0 only
    "le_to": lax.le,
    "pad": _pad,
    "reduce_window_max": _pooled(jnp.maximum, -jnp.inf),
    "reduce_window_sum": _pooled(jnp.add, 0),
}
