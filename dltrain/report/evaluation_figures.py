"""The figures of an evaluation: those of every run, curves of classes, calibration and residuals."""

from typing import Any

from dltrain.build.program import Program
from dltrain.engine.state import TrainState
from dltrain.inference.scores import Scores
from dltrain.report.figures import draw_figures


def score_figures(program: Program, state: TrainState, scores: Scores) -> dict[str, Any]:
    """Draw what there is to see in the scores of a split: name -> figure."""
    figures = draw_figures(program, state, scores.evaluation)
    if any(curve.positives and curve.negatives for curve in scores.curves.values()):
        figures |= _areas(scores)
    if scores.calibration is not None and scores.calibration.counts.sum():
        from dltrain.plots.calibration import calibration

        found = scores.calibration
        about = {"error": found.error, "what": found.what}
        figures["calibration"] = calibration(found.counts, found.confidence, found.right, **about)
    if scores.residuals is not None:
        from dltrain.plots.residuals import residuals

        found = scores.residuals
        figures["residuals"] = residuals(found.predicted, found.errors, found.names)
    return figures


def _areas(scores: Scores) -> dict[str, Any]:
    from dltrain.plots.areas import Line, precision_recall, roc

    areas = {part.name: part.metrics for part in scores.parts if "auroc" in part.metrics}
    drawn = {n: c for n, c in scores.curves.items() if c.positives and c.negatives and n in areas}
    rocs = {n: Line(c.false, c.true, areas[n]["auroc"].value) for n, c in drawn.items()}
    share = {n: c.positives / (c.positives + c.negatives) for n, c in drawn.items()}
    precisions = {
        n: Line(c.true, c.precision, areas[n]["average_precision"].value, share[n]) for n, c in drawn.items()
    }
    return {"roc": roc(rocs), "precision_recall": precision_recall(precisions)}
