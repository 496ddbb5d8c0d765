"""The figures of a finished run, and the sample of a language model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dltrain.build.program import Program
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import TrainState
from dltrain.inference.abilities import generates_text
from dltrain.inference.open import bundle_of
from dltrain.metrics.forecasting import STEP_METRICS
from dltrain.plots.artist import draw_pngs
from dltrain.plots.plot import plot
from dltrain.report.captions import describe_state, weights_shown
from dltrain.report.figures import plot_split
from dltrain.report.text import LENGTH
from dltrain.runs.folder import RunFolder
from dltrain.runs.result import TrainResult

Evaluations = dict[str, Evaluation]
"""Split -> evaluation."""


@dataclass(frozen=True)
class Evaluated:
    """Evaluations of the splits that were not trained on."""

    final: Evaluations  # of the final state
    best: Evaluations  # of the state with the best monitored metric
    raw: Evaluations  # of the final weights themselves, if the others are of their EMA
    best_state: TrainState
    best_step: int


def draw(
    program: Program, folder: RunFolder, found: Evaluated, trained: TrainResult, *, later: bool = False
) -> None:
    """Draw the figures of the best state into `report/` and TensorBoard; a language model's sample is text.

    `later`, after the files of TensorBoard were closed, it draws into `report/` only.
    """
    recorder, step = trained.recorder, trained.outcome.step
    best_step = found.best_step if trained.best_step else None
    curves = plot("curves.curves", _by_column(recorder.history), best_step=best_step)
    plots = {"curves": curves.with_caption(_about_curves(program))}
    if split := next((split for split in ("test", "validation") if split in found.best), None):
        kind = "best state" if trained.best_step and found.best_step != step else "final state"
        caption = f"{split} set, {describe_state(program, found.best_step, kind)}"
        for name, one in plot_split(program, found.best_state, found.best[split]).items():
            where = caption.replace(f"{split} set", "generated, seed 0") if name == "generated" else caption
            plots[name] = one.with_caption(where)
    report = folder.files / "report"
    for name, png in draw_pngs(plots).items():
        report.replace(f"{name}.png", png)
        if not later:
            recorder.figure(step, name, png)
    if split and "per_step" in found.best[split].arrays:
        from dltrain.plots.forecasts import per_step_table

        report.replace_text("per_step.csv", per_step_table(found.best[split].arrays["per_step"], STEP_METRICS))
    if generates_text(program.parts.spec, program.module):
        (text,) = bundle_of(program, found.best_state).generate(tokens=LENGTH, seed=program.plan.seed)
        report.replace_text("sample.txt", text)


def _about_curves(program: Program) -> str:
    splits = [f"{split}: all its examples, {weights_shown(program)}" for split in program.plan.splits]
    return "; ".join(["train: means over the steps since the point before", *splits])


def _by_column(history: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Turn rows into columns, split -> metric -> values: the loss, and what is computed on both splits."""
    names = {n for split, rows in history.items() if split != "train" for row in rows for n in row}
    names = (names or {"loss", "step"}) - {"split"}
    return {s: {n: [r.get(n) for r in rows] for n in names} for s, rows in history.items() if s != "test"}
