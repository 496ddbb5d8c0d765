"""Examples that a trained model is most confidently wrong about: their labels may be wrong."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.data import open_source
from dltrain.data.split import NAMES
from dltrain.errors import ConfigError
from dltrain.inference.run import Run
from dltrain.report.console import Screen
from dltrain.report.width import Column
from dltrain.runs.files import Files
from dltrain.tasks import Level
from dltrain.types import Kind

FILE = "label_noise.csv"
HEADINGS = ("split", "example", "where", "loss", "target", "predicted", "confidence")


@dataclass(frozen=True)
class Candidate:
    """An example whose label may be wrong, as the cells of `HEADINGS`."""

    split: str
    example: int
    where: str
    loss: float
    target: str
    predicted: str
    confidence: str


def candidates(run: Run, count: int, trust: tuple[str, ...]) -> list[Candidate]:
    """Return the examples with the largest loss, of all splits; of classes only those that are predicted wrongly.

    Raises:
        ConfigError: the task has no targets for single examples.
    """
    spec = run.bundle.raw_spec
    task = spec.task
    known = task.target_kind in (Kind.CATEGORY, Kind.NUMBERS) and task.level is Level.EXAMPLE
    if not known or task.quantiles:
        raise ConfigError(f"inspect: {run.path} is a run of task={task}, which has no class or number per example")
    splits = [name for name in NAMES if name in run.splits()]
    found = {split: run.evaluation(split) for split in splits}
    rows = [
        (float(loss), split, int(example))
        for split, evaluation in found.items()
        for example, loss in zip(evaluation.examples, evaluation.losses, strict=True)
    ]
    rows.sort(key=lambda row: (-row[0], row[2]))
    chosen: list[Candidate] = []
    for start in range(0, len(rows), 2 * count):
        chosen += _described(run, rows[start : start + 2 * count], trust)
        if len(chosen) >= count:
            break
    return chosen[:count]


def _described(run: Run, rows: list[tuple[float, str, int]], trust: tuple[str, ...]) -> list[Candidate]:
    """Compare the target of each example with what is predicted."""
    parts = run.data(reason="inspect", instead="dltrain inspect RUN cannot work without it")
    spec = run.bundle.raw_spec
    examples = np.array([example for *_, example in rows])
    read = parts.source.read(examples)
    decided = spec.task.decide(np.asarray(run.outputs(read["inputs"])), spec)
    place = _places(run, trust)
    found = []
    for i, (loss, split, example) in enumerate(rows):
        target, confidence = read["targets"][i], ""
        if spec.has_labels:
            guess = int(decided["class"][i])
            if guess == int(target):
                continue
            if "probabilities" in decided:
                sure = float(decided["probabilities"][i][guess])
            else:
                sure = float(decided["probability"][i])
                sure = sure if guess else 1 - sure
            confidence = f"{sure:.4f}"
            shown = (spec.classes[int(target)], spec.classes[guess])
        else:
            shown = (_numbers(target), _numbers(decided["value"][i]))
        found.append(Candidate(split, example, place(example), loss, *shown, confidence))
    return found


def _places(run: Run, trust: tuple[str, ...]) -> Any:
    """Return a function that says where an example is, if the source knows files and rows."""
    source = open_source(run.config["data"], trust, task=run.bundle.raw_spec.task)
    return source.where if hasattr(source, "where") else lambda example: ""


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.6g}" for value in np.asarray(values).reshape(-1))


def show_candidates(screen: Screen, found: list[Candidate]) -> None:
    """Print the candidates as a table."""
    if not found:
        screen.say("no example is predicted wrongly", result=True)
        return
    columns = [Column(heading, drop=2 if heading in ("example", "loss") else 0) for heading in HEADINGS]
    rows = [(c.split, str(c.example), c.where, f"{c.loss:.4g}", c.target, c.predicted, c.confidence) for c in found]
    screen.table("most confidently wrong", columns, rows)


def write_candidates(found: list[Candidate], files: Files) -> Path:
    """Write the candidates as CSV, and return its path."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows([c.split, c.example, c.where, c.loss, c.target, c.predicted, c.confidence] for c in found)
    files.replace_text(FILE, table.getvalue())
    return files.path / FILE
