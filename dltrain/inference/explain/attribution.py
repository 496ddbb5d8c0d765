"""Integrated gradients and saliency of a function of arrays; what the arrays stand for is not known here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dltrain.types import Array

FIRST = 16  # points of the path that are tried first; their number is doubled until completeness holds
CANCELLING = 0.1
"""Part of the sum of absolute attributions that an error is compared with where the outputs hardly differ."""

Function = Callable[..., Array]
"""`(points, *context) -> values [B]`; `points` is a tree of arrays [B, ...], and examples do not affect others."""


@dataclass(frozen=True)
class Completeness:
    """How well attributions sum to the difference in output, for each example.

    Attributes:
        output: f(x), float [N].
        baseline: f(baseline), float [N].
        total: the sum of all attributions, float [N].
        error: |total - (output - baseline)|, relative to |output - baseline| or, where that is smaller, to a tenth
            of the sum of the absolute attributions, which then cancel, float [N].
        steps: points of the path, int [N].
    """

    output: np.ndarray
    baseline: np.ndarray
    total: np.ndarray
    error: np.ndarray
    steps: np.ndarray

    def joined(self, other: "Completeness") -> "Completeness":
        """Append other examples."""
        return Completeness(*(np.concatenate(pair) for pair in zip(_fields(self), _fields(other), strict=True)))

    def first(self, count: int) -> "Completeness":
        """Return the first examples."""
        return Completeness(*(values[:count] for values in _fields(self)))


@dataclass(frozen=True)
class PathAttributions:
    """Attributions of one batch, trees of arrays like the points.

    Attributes:
        integrated: integrated gradients.
        saliency: the absolute gradient at x (Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034).
        completeness: of the integrated gradients.
    """

    integrated: Any
    saliency: Any
    completeness: Completeness


def path_attributions(
    function: Function, points: Any, baseline: Any, *context: Any, tolerance: float = 0.01, most: int = 256
) -> PathAttributions:
    """Return `(x - baseline) · ∫ gradient(baseline + t (x - baseline)) dt`, its completeness, and the saliency.

    Sundararajan, Taly and Yan 2017, arXiv:1703.01365. The integral over t from 0 to 1 is a Gauss-Legendre sum, the
    number of whose points doubles until the relative error of every example is at most the tolerance.

    Args:
        function: a hashable function, compiled once.
        points: x, a tree of floats [B, ...].
        baseline: where the path begins, like `points`.
        *context: further arrays for the function.
        tolerance: the relative error to reach.
        most: largest number of points of the path.
    """
    room = max(most, 2)

    def along(at: ArrayLike, weights: ArrayLike) -> tuple[Any, np.ndarray]:
        padded = (np.pad(np.asarray(a, np.float32), (0, room - np.size(a))) for a in (at, weights))
        found = _along_path(function, points, baseline, context, *padded, np.size(at))
        return jax.tree.map(np.asarray, found)

    slope, values = along((1.0, 0.0), (1.0, 0.0))
    output, start = values[:2].astype(np.float64)
    difference = jax.tree.map(lambda x, b: np.asarray(x) - np.asarray(b), points, baseline)
    found, complete, steps = None, None, min(FIRST, most)
    while complete is None or (steps <= most and not bool((complete.error <= tolerance).all())):
        at, weights = np.polynomial.legendre.leggauss(steps)
        mean, _ = along((at + 1) / 2, weights / 2)
        new = jax.tree.map(np.multiply, difference, mean)
        measured = _measured(new, output, start, steps)
        found, complete = (new, measured) if complete is None else _better(found, complete, new, measured)
        steps = 2 * steps if steps == most else min(2 * steps, most)
    return PathAttributions(found, jax.tree.map(np.abs, slope), complete)


@partial(jax.jit, static_argnums=0)
def _along_path(
    function: Function,
    points: Any,
    baseline: Any,
    context: tuple[Any, ...],
    at: Array,
    weights: Array,
    count: Array,
) -> tuple[Any, Array]:
    """Return the weighted sum of gradients at the first `count` places of a path, and the values there, [room, B].

    One program serves every number of places.
    """
    difference = jax.tree.map(jnp.subtract, points, baseline)

    def total(here: Any) -> tuple[Array, Array]:
        values = function(here, *context)
        return values.sum(), values

    def add(i: Array, so_far: tuple[Any, Array]) -> tuple[Any, Array]:
        here = jax.tree.map(lambda b, d: b + at[i] * d, baseline, difference)
        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(here)
        summed = jax.tree.map(lambda t, g: t + weights[i] * g, so_far[0], gradient)
        return summed, so_far[1].at[i].set(values)

    examples = len(jax.tree.leaves(points)[0])
    empty = jax.tree.map(jnp.zeros_like, points), jnp.zeros((len(at), examples))
    return jax.lax.fori_loop(0, count, add, empty)


def _measured(summed: Any, output: np.ndarray, baseline: np.ndarray, steps: int) -> Completeness:
    flat = [np.asarray(leaf, np.float64).reshape(len(output), -1) for leaf in jax.tree.leaves(summed)]
    total, absolute = (sum((f(leaf).sum(1) for leaf in flat), np.zeros(len(output))) for f in (np.array, np.abs))
    scale = np.maximum(np.abs(output - baseline), CANCELLING * absolute)
    tiny = np.finfo(np.float32).tiny
    error = np.abs(total - (output - baseline)) / np.maximum(scale, tiny)
    return Completeness(output, baseline, total, error, np.full(len(output), steps))


def _better(found: Any, complete: Completeness, new: Any, measured: Completeness) -> tuple[Any, Completeness]:
    """Take for each example the attributions with the smaller error."""
    better = measured.error < complete.error

    def pick(one: Any, other: Any) -> np.ndarray:
        one, other = np.asarray(one), np.asarray(other)
        return np.where(better.reshape(-1, *(1,) * (one.ndim - 1)), one, other)

    pairs = zip(_fields(measured), _fields(complete), strict=True)
    return jax.tree.map(pick, new, found), Completeness(*(pick(one, other) for one, other in pairs))


def _fields(complete: Completeness) -> tuple[np.ndarray, ...]:
    return complete.output, complete.baseline, complete.total, complete.error, complete.steps
