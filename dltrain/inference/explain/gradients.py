"""Attributions of the inputs of examples by integrated gradients, a batch at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dltrain.inference.bundle import Bundle
from dltrain.inference.explain.attribution import Completeness, path_attributions
from dltrain.inference.explain.examples import Examples
from dltrain.inference.explain.function import CONTINUOUS, ModelFunction, Points, make_function
from dltrain.inference.explain.replacing import neutral_of, replacing
from dltrain.inference.explain.select import select
from dltrain.inference.given import batches
from dltrain.types import Batch, Kind, by_name

BATCH = 16  # examples whose gradients are computed together


@dataclass(frozen=True)
class Attributions:
    """How much each element of the inputs adds to the explained output.

    Attributes:
        values: input -> float32 [N, ...], of the shape of the input; of a token the sum over its embedding.
        saliency: input -> the absolute gradient, float32 [N, ...]; of a token its norm. Not of replaced inputs.
        methods: input -> how it was attributed, and the baseline.
        explained: the class, label or target of each example.
        what: what kind of number is explained.
        completeness: of the integrated gradients; None if there are none.
    """

    values: Mapping[str, np.ndarray]
    saliency: Mapping[str, np.ndarray]
    methods: Mapping[str, str]
    explained: tuple[str, ...]
    what: str
    completeness: Completeness | None


def attribute(
    bundle: Bundle,
    examples: Examples,
    *,
    target: str | None,
    tolerance: float,
    steps: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Attributions:
    """Attribute the predicted class (or `target`, by its name) to the inputs of examples.

    Args:
        bundle: the model.
        examples: the examples.
        target: a class, a label or a target; None: the predicted class or label, or the first target.
        tolerance: largest relative error of completeness to aim at.
        steps: largest number of points of the path.
        advance: is told of the examples that are done.
    """
    size = min(BATCH, bundle.batch_size, len(examples))
    found, function = [], None
    for batch, count in batches(examples.inputs, size):
        function = function or make_function(bundle, batch)
        found.append(_attribute(function, batch, examples, target, tolerance, steps, count))
        advance(count)
    assert function is not None
    values, slopes, complete, names, what = zip(*found, strict=True)
    whole = complete[0]
    for more in complete[1:]:
        whole = whole.joined(more) if whole and more else whole
    return Attributions(
        jax.tree.map(lambda *parts: np.concatenate(parts), *values),
        jax.tree.map(lambda *parts: np.concatenate(parts), *slopes),
        _methods(function, examples),
        tuple(name for some in names for name in some),
        what[0],
        whole,
    )


def _attribute(
    function: ModelFunction,
    batch: Batch,
    examples: Examples,
    target: str | None,
    tolerance: float,
    steps: int,
    count: int,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Completeness | None, tuple[str, ...], str]:
    bundle = function.bundle
    points, outputs = function.points(batch)
    selected = select(np.asarray(outputs), bundle.raw_spec, target)
    context = (*function.weights, batch, selected.weights)
    values: dict[str, np.ndarray] = {}
    slopes: dict[str, np.ndarray] = {}
    complete = None
    if jax.tree.leaves(points):
        base = baseline_of(function, batch, points, examples.medians)
        found = path_attributions(function, points, base, *context, tolerance=tolerance, most=steps)
        values = _by_input(function, found.integrated, lambda a: a.sum(-1, dtype=np.float64))
        slopes = _by_input(function, found.saliency, lambda a: np.linalg.norm(a, axis=-1))
        complete = found.completeness.first(count)
    for name in replaced_inputs(function):
        values[name] = replacing(function, batch, name, selected.weights)
    cut = {name: np.asarray(array[:count], np.float32) for name, array in values.items()}
    return (
        cut,
        {n: np.asarray(a[:count]) for n, a in slopes.items()},
        complete,
        selected.names[:count],
        selected.what,
    )


def baseline_of(function: ModelFunction, batch: Batch, points: Points, medians: Mapping[str, np.ndarray]) -> Points:
    """Return where the path begins: medians of numbers, else zeros of scaled inputs and of the layers' outputs."""
    zeros: Any = jax.tree.map(np.zeros_like, points)
    if not medians:
        return zeros
    inputs = batch["inputs"]
    named = dict(by_name(inputs, function.bundle.array_spec.inputs))
    for name, median in medians.items():
        named[name] = np.broadcast_to(median.astype(named[name].dtype), named[name].shape)
    changed = named if isinstance(inputs, dict) else next(iter(named.values()))
    at_medians, _ = function.points({**batch, "inputs": changed})
    own = {name: at_medians["inputs"][name] for name in medians if name in zeros["inputs"]}
    return {**zeros, "inputs": {**zeros["inputs"], **own}}


def replaced_inputs(function: ModelFunction) -> list[str]:
    """Return the inputs that no gradient reaches: tokens and levels that are looked up outside of known layers."""
    reached = set(function.layers.values())
    contents = function.bundle.spec.contents
    return [n for n, feature in contents.items() if feature.kind not in CONTINUOUS and n not in reached]


def _by_input(
    function: ModelFunction, points: Points, over_vector: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Return arrays of the shapes of the inputs: the vector of each token or level becomes one number."""
    found = {name: np.asarray(array) for name, array in points["inputs"].items()}
    for key, output in points["layers"].items():
        name = function.layers[key]
        levels = [over_vector(np.asarray(part)) for part in output] if isinstance(output, list) else None
        one = np.stack(levels, -1) if levels else over_vector(np.asarray(output))
        one = one.reshape(len(one), *function.bundle.spec.inputs[name].shape)
        found[name] = found[name] + one if name in found else one
    return found


def _methods(function: ModelFunction, examples: Examples) -> dict[str, str]:
    spec, found = function.bundle.spec, {}
    for name, feature in spec.contents.items():
        if name in replaced_inputs(function):
            found[name] = f"one at a time replaced by {neutral_of(feature)[1]}"
            continue
        base = "scaled values of 0"
        if name in examples.medians:
            base = "the medians of the training rows"
        elif feature.kind in (Kind.TOKENS, Kind.NGRAMS):
            base = "embeddings of zeros"
        elif feature.kind not in CONTINUOUS:
            base = "an unknown level"
        found[name] = f"integrated gradients from {base}"
    return found
