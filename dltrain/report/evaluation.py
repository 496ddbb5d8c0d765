"""What `dltrain evaluate` writes: the scores of a split as JSON and tables, and figures."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.errors import ConfigError
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.run import OTHER, Run
from dltrain.inference.scores import Estimate, Scores
from dltrain.inference.scores.scores import Part
from dltrain.plots.artist import draw_pngs
from dltrain.report.captions import describe_state
from dltrain.report.evaluation_figures import plot_scores
from dltrain.runs.files import Files

FOLDER = "evaluation"
UNSAFE = 60  # characters of the name of a file that may name a folder


@dataclass(frozen=True)
class Reported:
    """The scores of a split, with the folder that has them and the files in it."""

    split: str
    scores: Scores
    folder: Path
    files: tuple[str, ...]


def folder_of(run: Run | Ensemble, split: str, output: str | None, *, several: bool = False) -> Files:
    """Return where the scores of a split go: the run's folder `evaluation`, or `output`.

    With `several` splits, each has its own folder in `output`.
    """
    name = split
    if split == OTHER:
        plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in run.other_data)[:UNSAFE].lstrip(".")
        name = f"{OTHER}-{plain or 'data'}"
    if output is None:
        return run.folder.files / FOLDER / name
    path = Path(output).expanduser()
    if path.exists() and not path.is_dir():
        raise ConfigError(f"output={output}: is a file; name a folder")
    return Files(path / name if several else path)


def write_scores(
    run: Run | Ensemble, split: str, scores: Scores, files: Files, *, figures: bool = True
) -> Reported:
    """Write the scores of a split into a folder, and figures of them.

    Args:
        run: the run, or an ensemble of runs.
        split: the split, or `other`.
        scores: of this split.
        files: the folder.
        figures: whether to draw.

    Raises:
        DiskError: the folder cannot be written.
    """
    about = {"run": str(run.path), "step": run.step, "split": None if split == OTHER else split}
    about |= {"data": str(run.config["data"].get("path"))} if split == OTHER else {}
    files.replace_json("metrics.json", {**about, **scores.to_json()})
    written = ["metrics.json"]
    for name, rows in tables(scores).items():
        files.replace_text(name, rows)
        written.append(name)
    if figures:
        written += _draw(run, split, scores, files)
    if files.path.is_relative_to(run.path / FOLDER):  # what an earlier evaluation left there is of other weights
        for name in set(files.names()) - set(written):
            if name.endswith((".csv", ".png")):
                files.remove_file(name)
    return Reported(split, scores, files.path, tuple(written))


def report_scores(
    run: Run | Ensemble, split: str = "test", *, tta: str = "none", figures: bool = True, output: str | None = None
) -> Reported:
    """Evaluate a split of a run, and write everything about it into a folder.

    Args:
        run: the run, as `dltrain.open_run` returns it, or an ensemble.
        split: train, validation or test; of other data `other`.
        tta: flip: also the mean over images and their mirror images.
        figures: whether to draw.
        output: the folder; None: evaluation/SPLIT of the run.
    """
    files = folder_of(run, split, output)
    return write_scores(run, split, run.scores(split, tta=tta), files, figures=figures)


def tables(scores: Scores) -> dict[str, str]:
    """Return the tables of the scores as CSV: file name -> content."""
    found = {"metrics.csv": _metrics_table(scores)}
    if scores.parts:
        found["classes.csv" if scores.kind in ("class", "label") else "targets.csv"] = _parts_table(
            scores.kind, scores.parts
        )
    if scores.steps:
        found["steps.csv"] = _parts_table("step", scores.steps)
    if scores.worst:
        rows = [(w.example, w.where, w.loss, w.truth, w.predicted, w.confidence) for w in scores.worst]
        found["worst.csv"] = _csv(("example", "where", "loss", "truth", "predicted", "confidence"), rows)
    if scores.confused:
        pairs = [(c.truth, c.predicted, c.count, c.share, " ".join(map(str, c.examples))) for c in scores.confused]
        found["confused.csv"] = _csv(("truth", "predicted", "count", "share", "examples"), pairs)
    return found


def _metrics_table(scores: Scores) -> str:
    headings = ["metric", "value", "low", "high"]
    headings += ["flip_value", "flip_low", "flip_high"] if scores.flipped else []
    rows = []
    for name, estimate in {**scores.metrics, **scores.further}.items():
        row = [name, *_numbers(estimate)]
        if scores.flipped:
            row += _numbers(scores.flipped[name]) if name in scores.flipped else ["", "", ""]
        rows.append(row)
    return _csv(headings, rows)


def _parts_table(kind: str, parts: Sequence[Part]) -> str:
    counts, metrics = list(parts[0].counts), list(parts[0].metrics)
    ends = [f"{name}{end}" for name in metrics for end in ("", "_low", "_high")]
    rows = [
        [p.name, *p.counts.values(), *(value for name in metrics for value in _numbers(p.metrics[name]))]
        for p in parts
    ]
    return _csv([kind, *counts, *ends], rows)


def _numbers(estimate: Estimate) -> list[Any]:
    """Return value and ends of the interval, "" for what is undefined."""
    return ["" if value != value else value for value in (estimate.value, estimate.low, estimate.high)]


def _csv(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()


def _draw(run: Run | Ensemble, split: str, scores: Scores, files: Files) -> list[str]:
    named = run.other_data if split == OTHER else f"{split} set"
    caption = f"{named}, {describe_state(run.program, run.step) if isinstance(run, Run) else run.about}"
    plots = plot_scores(run.program, run.placed_state, scores)
    if isinstance(run, Ensemble):
        plots.pop("attention", None)  # of its first run alone
    captioned = {n: p.with_caption("generated, seed 0" if n == "generated" else caption) for n, p in plots.items()}
    written = {f"{name}.png": png for name, png in draw_pngs(captioned).items()}
    for name, png in written.items():
        files.replace(name, png)
    return [*written]
