"""The figures of an evaluation: those of every run, curves of classes, calibration and residuals."""

from dltrain.build.program import Program
from dltrain.engine.state import TrainState
from dltrain.inference.scores import Scores
from dltrain.plots.plot import Plot, plot
from dltrain.report.figures import plot_split


def plot_scores(program: Program, state: TrainState, scores: Scores) -> dict[str, Plot]:
    """Plot what there is to see in the scores of a split: name -> figure."""
    figures = plot_split(program, state, scores.evaluation)
    if any(curve.positives and curve.negatives for curve in scores.curves.values()):
        figures |= _areas(scores)
    if scores.calibration is not None and scores.calibration.counts.sum():
        found = scores.calibration
        given = found.counts, found.confidence, found.right
        figures["calibration"] = plot("calibration.calibration", *given, error=found.error, what=found.what)
    if scores.residuals is not None:
        found = scores.residuals
        figures["residuals"] = plot("residuals.residuals", found.predicted, found.errors, found.names)
    return figures


def _areas(scores: Scores) -> dict[str, Plot]:
    from dltrain.plots.areas import Line  # imports matplotlib

    areas = {part.name: part.metrics for part in scores.parts if "auroc" in part.metrics}
    drawn = {n: c for n, c in scores.curves.items() if c.positives and c.negatives and n in areas}
    rocs = {n: Line(c.false, c.true, areas[n]["auroc"].value) for n, c in drawn.items()}
    share = {n: c.positives / (c.positives + c.negatives) for n, c in drawn.items()}
    precisions = {
        n: Line(c.true, c.precision, areas[n]["average_precision"].value, share[n]) for n, c in drawn.items()
    }
    return {"roc": plot("areas.roc", rocs), "precision_recall": plot("areas.precision_recall", precisions)}
