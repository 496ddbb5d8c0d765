"""One pass over a split after its evaluation: the states of the metrics of each example, and outputs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.engine.evaluate import Evaluation, Evaluator
from dltrain.inference.scores.states import as_columns, resampled_metrics, state_function
from dltrain.tasks import Level
from dltrain.tree import Tree
from dltrain.types import Kind

KEPT = 2 * 10**8  # numbers of the outputs of a split that are held at once, 800 MB
COMPARED = (Kind.CATEGORY, Kind.LABELS, Kind.NUMBERS)


@dataclass(frozen=True)
class Collected:
    """What was computed of N examples, in the order of the evaluation.

    Attributes:
        evaluation: what the run itself reports.
        columns: metric -> the states of the examples, float64 [N, C].
        outputs: those in the units of the data, [N, ...]; None where they are many, or nothing to compare.
        targets: what they are compared with, [N, ...].
        decided: what the task decides by them, name -> [N, ...].
    """

    evaluation: Evaluation
    columns: Mapping[str, np.ndarray]
    outputs: np.ndarray | None = None
    targets: np.ndarray | None = None
    decided: Mapping[str, np.ndarray] | None = None


def collect(
    program: Program,
    evaluator: Evaluator,
    params: tuple[Tree, Tree],
    examples: np.ndarray,
    metrics: Mapping[str, Any],
    *,
    own: Collection[str],
) -> Collected:
    """Evaluate these examples, int32 [N], and compute the states of further `metrics` for each of them.

    Metrics that are no sums over examples, or would take too much memory, are left out; and, except `own`, those of
    the run, metrics that do not fit the outputs of a task of the user's own.
    """
    evaluation = evaluator(*params, examples)
    spec, kept = program.parts.spec, resampled_metrics(metrics, len(examples))
    if not type(spec.task).__module__.startswith("dltrain."):
        kept = _fitting(kept, program, evaluator, params, examples[:1], own=own)
    states = state_function(kept, program.parts.preprocess)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in kept}
    outputs: list[np.ndarray] | None = [] if _keeps(program, len(examples)) else None
    targets, size = [], min(program.plan.eval_batch_size, len(examples))
    for start in range(0, len(examples), size):
        some = evaluation.examples[start : start + size]
        full = np.concatenate([some, np.repeat(some[-1:], size - len(some))])  # one shape, compiled once
        out, raw = evaluator.outputs(*params, full), program.parts.source.read(full)
        found = states(out, {**raw, "mask": np.ones(size, bool)})
        for name, state in found.items():
            columns[name].append(as_columns(state, size)[: len(some)])
        if outputs is not None and isinstance(out, np.ndarray) and isinstance(raw["targets"], np.ndarray):
            outputs.append(out[: len(some)])
            targets.append(raw["targets"][: len(some)])
        else:
            outputs = None
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    if not outputs:
        return Collected(evaluation, joined)
    whole = np.concatenate(outputs)
    decided = {name: np.asarray(value) for name, value in spec.task.decide(whole, spec).items()}
    return Collected(evaluation, joined, whole, np.concatenate(targets), decided)


def _fitting(
    metrics: Mapping[str, Any],
    program: Program,
    evaluator: Evaluator,
    params: tuple[Tree, Tree],
    example: np.ndarray,
    *,
    own: Collection[str],
) -> dict[str, Any]:
    """Return the metrics of the run, and those others that can be computed of an example, int32 [1]."""
    out, raw = evaluator.outputs(*params, example), program.parts.source.read(example)
    batch = {**raw, "mask": np.ones(1, bool)}
    return {n: m for n, m in metrics.items() if n in own or _fits({n: m}, program, out, batch)}


def _fits(metrics: Mapping[str, Any], program: Program, outputs: Any, batch: Any) -> bool:
    """Tell whether metrics can be computed of these outputs, [1, ...]."""
    try:
        jax.eval_shape(state_function(metrics, program.parts.preprocess), outputs, batch)
    except (ValueError, TypeError, LookupError, AttributeError):
        return False
    return True


def _keeps(program: Program, examples: int) -> bool:
    """Tell whether outputs are compared as a whole: of examples and not of pixels, and not too many."""
    spec = program.parts.spec
    task = spec.task
    if task.target_kind not in COMPARED or task.level is not Level.EXAMPLE or len(spec.targets) != 1:
        return False
    return examples * max(spec.target.size, spec.outputs) <= KEPT
