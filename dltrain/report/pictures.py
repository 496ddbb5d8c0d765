"""Pictures of what a model makes of a split: which there are follows from the task."""

from typing import Any

import numpy as np

from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import TrainState
from dltrain.program import Program
from dltrain.types import Kind, Task

LOOKED_AT = 1000  # rows, from the beginning and of the worst, among which those to draw are chosen


def pictures(program: Program, state: TrainState, found: Evaluation) -> dict[str, Any]:
    """Draw the figures of an evaluated split: name -> figure."""
    figures = {}
    match program.parts.spec.task:
        case Task.CLASSIFICATION | Task.BINARY | Task.REGRESSION:
            figures["samples"] = _samples(program, state, found)
    if "confusion" in found.arrays:
        from dltrain.plots.confusion import confusion

        figures["confusion_matrix"] = confusion(found.arrays["confusion"], program.parts.spec.classes)
    return figures


def _samples(program: Program, state: TrainState, found: Evaluation) -> Any:
    """Draw the rows with the largest errors and some others."""
    from dltrain.plots.samples import choose, samples

    spec = program.parts.spec
    worst = np.argsort(-np.nan_to_num(found.losses, nan=np.inf), kind="stable")[:LOOKED_AT]
    among = np.union1d(np.arange(min(LOOKED_AT, len(found.rows))), worst)
    rows, losses = found.rows[among], found.losses[among]
    outputs = program.outputs(state, rows)
    prediction = outputs
    if spec.task is Task.CLASSIFICATION:
        prediction = outputs.argmax(-1)
    elif spec.task is Task.BINARY:
        prediction = (outputs[:, 0] > 0).astype(np.int32)
    read = program.parts.source.read(rows)
    inputs, truth = read["inputs"], read["targets"]
    drawn = choose(truth, prediction, losses) if spec.kind is Kind.IMAGE else np.arange(len(rows))
    picked = (truth[drawn], prediction[drawn], losses[drawn])
    return samples(inputs[drawn], spec.kind, *picked, spec.classes, names=spec.target_names)
