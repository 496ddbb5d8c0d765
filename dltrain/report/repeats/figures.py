"""The figures of runs that repeat one training, in `report` of the sweep's folder."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.inference.ensemble.folds import OutOfFold
from dltrain.inference.ensemble.make import Made
from dltrain.inference.ensemble.measure import CombinedEvaluator, Measure
from dltrain.report.figures import draw_figures
from dltrain.report.repeats.results import SPLITS, Repeated
from dltrain.report.saved_figures import save_figures
from dltrain.runs.repeat import CROSSVAL

OF_A_MODEL = ("attention", "generated")
"""Figures that show a model, and not predictions."""


def draw_repeated(found: Repeated) -> list[Path]:
    """Draw the metric of each run, and the out-of-fold predictions; return the paths."""
    return save_figures(found.folder, _figures(found))


def _figures(found: Repeated) -> Iterator[tuple[str, Any]]:
    from dltrain.plots.caption import add_caption
    from dltrain.plots.repeated import Strip, repeated

    metric, strips = found.metric, []
    for split in SPLITS:
        if values := found.values.get(split, {}).get(metric):
            of = found.spread(split, metric)
            pooled = split == "validation" and found.repeat.command == CROSSVAL
            names = ("out-of-fold" if pooled else "ensemble", "with temperature")
            together = zip(names, (found.together(split), found.calibrated(split)), strict=True)
            lines = {name: metrics[metric] for name, metrics in together if metric in metrics}
            if len(set(lines.values())) == 1:  # a temperature leaves classes as they are
                lines = dict([next(iter(lines.items()))])
            about = (f"{split}/{metric}", list(values), list(values.values()), of.mean, of.interval)
            strips.append(Strip(*about, lines))
    if strips:
        yield f"{found.repeat.noun}s", repeated(strips, found.repeat.noun)
    made = found.made
    if made and made.folded and made.fold_measure:
        for name, figure in _of_folds(made, made.folded, made.fold_measure).items():
            yield f"out_of_fold_{name}", add_caption(figure, "each example by the model that was not trained on it")


def _of_folds(made: Made, folded: OutOfFold, measure: Measure) -> dict[str, Any]:
    """Draw the figures of the task of the out-of-fold predictions."""
    first = made.ensemble.program
    program = copy.copy(first)
    read = first.parts.source.read

    def outputs_of(examples: np.ndarray) -> np.ndarray:
        return folded.outputs[np.searchsorted(folded.examples, examples)]

    vars(program)["evaluator"] = CombinedEvaluator(outputs_of, measure, read)
    state = made.ensemble.placed_state
    drawn = draw_figures(program, state, program.evaluator(*program.eval_params(state), folded.examples))
    return {name: figure for name, figure in drawn.items() if name not in OF_A_MODEL}
