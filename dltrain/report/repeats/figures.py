"""The figures of runs that repeat one training, in `report` of the sweep's folder."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dltrain.inference.ensemble.folds import OutOfFold
from dltrain.inference.ensemble.make import Made
from dltrain.inference.ensemble.measure import CombinedEvaluator, Measure
from dltrain.plots.plot import Plot, plot
from dltrain.report.figures import plot_split
from dltrain.report.repeats.results import SPLITS, Repeated
from dltrain.report.saved_figures import save_figures
from dltrain.runs.repeat import CROSSVAL

OF_A_MODEL = ("attention", "generated")
"""Figures that show a model, and not predictions."""


def draw_repeated(found: Repeated) -> list[Path]:
    """Draw the metric of each run, and the out-of-fold predictions; return the paths."""
    return save_figures(found.folder, dict(_plots(found)))


def _plots(found: Repeated) -> Iterator[tuple[str, Plot]]:
    from dltrain.plots.repeated import Strip  # imports matplotlib

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
        yield f"{found.repeat.noun}s", plot("repeated.repeated", strips, found.repeat.noun)
    made = found.made
    if made and made.folded and made.fold_measure:
        for name, one in _of_folds(made, made.folded, made.fold_measure).items():
            yield f"out_of_fold_{name}", one.with_caption("each example by the model that was not trained on it")


def _of_folds(made: Made, folded: OutOfFold, measure: Measure) -> dict[str, Plot]:
    """Plot the figures of the task of the out-of-fold predictions."""
    first = made.ensemble.program
    program = copy.copy(first)
    read = first.parts.source.read

    def outputs_of(examples: np.ndarray) -> np.ndarray:
        return folded.outputs[np.searchsorted(folded.examples, examples)]

    vars(program)["evaluator"] = CombinedEvaluator(outputs_of, measure, read)
    state = made.ensemble.placed_state
    plots = plot_split(program, state, program.evaluator(*program.eval_params(state), folded.examples))
    return {name: one for name, one in plots.items() if name not in OF_A_MODEL}
