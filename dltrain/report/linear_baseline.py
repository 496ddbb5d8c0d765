"""Ridge and logistic regression on the raw inputs, fitted on the training split: the baseline of a linear model."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dltrain.types import Kind, Spec, by_name

MOST_LEVELS = 100  # categories with more are left out
WIDEST = 512  # most columns, categories as one column for each level
MOST = 4_000_000  # examples times columns times outputs for the fit: about half a second
FEWEST = 500  # examples that are enough for a fit, where there are more
PENALTY = 1.0  # of the squared weights next to the sum of losses, as in scikit-learn
ITERATIONS = 100
TOLERANCE = 1e-6  # of the gradient, relative to the loss
MEMORY = 10  # moves that L-BFGS remembers
SMALLEST_STEP = 1e-10


def vectors(inputs: Any, spec: Spec) -> np.ndarray | None:
    """Return inputs as vectors, float64 [N, F], categories one-hot; None if they are not vectors or too wide."""
    named, columns, width = by_name(inputs, spec.inputs), [], 0
    for name, feature in spec.contents.items():
        if feature.kind is Kind.CATEGORIES:
            few = [(i, len(levels)) for i, levels in enumerate(feature.levels) if len(levels) <= MOST_LEVELS]
            columns += [partial(_one_hot, named[name][:, i], count) for i, count in few]
            width += sum(count for _, count in few)
        elif feature.kind in (Kind.IMAGE, Kind.NGRAMS, Kind.TOKENS) and len(spec.contents) > 1:
            continue  # only the columns next to it
        elif feature.kind in (Kind.NUMBERS, Kind.IMAGE):
            columns.append(partial(_flat, named[name]))
            width += feature.size
        else:
            return None
    return np.concatenate([make() for make in columns], 1) if 0 < width <= WIDEST else None


def _one_hot(levels: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count + 1)[levels][:, 1:]  # level 0 is unknown


def _flat(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(len(values), -1)


class LinearModel:
    """A linear model of standardized inputs; `outputs` returns numbers or logits, float [N, K]."""

    def __init__(self, x: np.ndarray, y: np.ndarray, kind: Kind, classes: int) -> None:
        """Fit by least squares, or by the cross-entropy of classes or labels, with a penalty.

        Args:
            x: inputs of training examples, [N, F].
            y: their targets: classes int [N], labels [N, K], or numbers [N, K].
            kind: what the targets are.
            classes: K of classes.
        """
        self.shift, spread = x.mean(0), x.std(0)
        self.scale = np.where(spread > 0, spread, 1)
        x = (x - self.shift) / self.scale
        if kind is Kind.NUMBERS:
            self.bias = y.mean(0)
            self.weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ (y - self.bias))
        else:
            onto = np.eye(classes)[y] if kind is Kind.CATEGORY else y.astype(np.float64)
            self.weights, self.bias = _fit_logits(x, onto, softmax=kind is Kind.CATEGORY)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return numbers, or logits, of inputs [N, F]."""
        return (x - self.shift) / self.scale @ self.weights + self.bias


def _fit_logits(x: np.ndarray, targets: np.ndarray, *, softmax: bool) -> tuple[np.ndarray, np.ndarray]:
    """Minimize the cross-entropy and the penalty; return the weights [F, K] and biases [K]."""
    shape = (x.shape[1] + 1, targets.shape[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = x @ weights[:-1] + weights[-1]
        if softmax:
            logits = logits - logits.max(1, keepdims=True)
            total = np.log(np.exp(logits).sum(1, keepdims=True))
            value, error = (total.sum() - (targets * logits).sum()), np.exp(logits - total) - targets
        else:
            value = (np.logaddexp(0, logits) - targets * logits).sum()
            error = np.exp(-np.logaddexp(0, -logits)) - targets
        gradient = np.concatenate([x.T @ error + PENALTY * weights[:-1], error.sum(0)[None]])
        return value + PENALTY / 2 * np.square(weights[:-1]).sum(), gradient.ravel()

    weights = _minimize(loss, np.zeros(shape[0] * shape[1])).reshape(shape)
    return weights[:-1], weights[-1]


def _minimize(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Minimize a smooth convex function by L-BFGS (Nocedal and Wright, algorithm 7.4) with backtracking.

    SciPy's would take a second to import.
    """
    value, gradient = loss(x)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(ITERATIONS):
        if np.abs(gradient).max() <= TOLERANCE * max(1, abs(value)):
            break
        direction = -_times_inverse(pairs, gradient)
        slope, step = float(gradient @ direction), 1.0 if pairs else 1 / np.linalg.norm(gradient)
        while (found := loss(x + step * direction))[0] > value + 1e-4 * step * slope and step > SMALLEST_STEP:
            step /= 2
        if step <= SMALLEST_STEP:
            break
        move, change = step * direction, found[1] - gradient
        if move @ change > 0:
            pairs = [*pairs[1 - MEMORY :], (move, change)]
        x, (value, gradient) = x + move, found
    return x


def _times_inverse(pairs: Sequence[tuple[np.ndarray, np.ndarray]], gradient: np.ndarray) -> np.ndarray:
    """Multiply by the inverse Hessian that moves and changes of the gradient imply."""
    q, factors = gradient.copy(), []
    for move, change in reversed(pairs):
        factors.append((move @ q) / (move @ change))
        q -= factors[-1] * change
    if pairs:
        move, change = pairs[-1]
        q *= (move @ change) / (change @ change)
    for (move, change), factor in zip(pairs, reversed(factors), strict=True):
        q += (factor - (change @ q) / (move @ change)) * move
    return q


def most_examples(columns: int, outputs: int) -> int:
    """Return how many training examples a fit of about half a second may have; 0 if those would be too few."""
    count = MOST // max(1, columns * max(outputs, columns // 10))
    return count if count >= FEWEST else 0
