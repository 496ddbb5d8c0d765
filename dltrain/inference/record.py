"""What a run folder says about its run, read without data, weights or a model: for reports and comparisons."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.config.changes import read_saved
from dltrain.errors import CheckpointError
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.history import Row, read_history, read_metrics
from dltrain.runs.sealed import read_bytes, read_sealed

SPLITS = ("test", "validation", "train")  # in the order of interest
Curve = tuple[np.ndarray, np.ndarray]
"""Steps, int [N], and values, float [N]."""


@dataclass(frozen=True)
class Result:
    """The metrics of one state of a run on one split."""

    split: str
    state: str  # best, final, raw (the final weights without EMA)
    step: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class Record:
    """A run as its folder describes it; what is not there is empty."""

    folder: RunFolder
    config: Mapping[str, Any]
    text: str  # of config.yaml
    started: Mapping[str, Any]  # overrides, choices, and each resume
    summary: Mapping[str, Any]  # empty before the run has finished
    environment: Mapping[str, Any]
    data: Mapping[str, Any]  # fingerprint, examples and hashes of the splits
    model: Mapping[str, Any]  # spec and preprocessing
    rows: tuple[Row, ...]  # of metrics.jsonl
    arrays: Mapping[str, tuple[str, tuple[int, ...]]]  # dtype and shape of the arrays of the newest checkpoint
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # written by `dltrain evaluate`
    notes: tuple[str, ...] = ()  # what is missing, for the reader of a report

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def finished(self) -> bool:
        """Whether the run has a summary."""
        return bool(self.summary)

    @property
    def choices(self) -> Mapping[str, str]:
        """Group -> choice, as far as it is known."""
        return self.started.get("choices", {})

    @property
    def title(self) -> str:
        """The name of the run, or else its data and its model."""
        name, model = self.config.get("name"), self.choices.get("model")
        return str(name) if name else f"{self.data_name} · {model}" if model else self.path.name

    @property
    def data_name(self) -> str:
        """The choice of data, or the name of its file or folder if the user gave one."""
        path = self.config["data"].get("path")
        return Path(path).name if isinstance(path, str) and path else self.choices.get("data", "data")

    @property
    def steps(self) -> int:
        """The last step that is known of."""
        return self.summary.get("steps") or max((row["step"] for row in self.rows), default=0)

    @property
    def monitor(self) -> tuple[str, str]:
        """The split and the metric by which the best state was chosen; ("validation", "loss") if none was."""
        split, _, name = (self.summary.get("monitor") or "validation/loss").partition("/")
        return split, name

    @property
    def higher_is_better(self) -> bool:
        """Whether the best state has the highest value of the monitored metric."""
        return bool(self.summary.get("higher_is_better"))

    @cached_property
    def curves(self) -> dict[str, dict[str, Curve]]:
        """Metric -> split -> what was recorded of it, without values that are missing or not finite."""
        found: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for row in self.rows:
            for name, value in row.items():
                if name not in ("step", "split") and value is not None and np.isfinite(value):
                    found.setdefault(name, {}).setdefault(row["split"], []).append((row["step"], float(value)))
        return {
            name: {
                split: (np.array([s for s, _ in of], int), np.array([v for _, v in of])) for split, of in by.items()
            }
            for name, by in found.items()
        }

    @property
    def charted(self) -> list[str]:
        """The two curves that say most: the loss, and the monitored metric or else the first other one."""
        others = [
            name for name, by in self.curves.items() if "validation" in by and "/" not in name and name != "loss"
        ]
        watched = self.monitor[1] if self.summary.get("monitor") else next(iter(others), "loss")
        return [name for name in dict.fromkeys(("loss", watched)) if name in self.curves]

    def results(self) -> list[Result]:
        """Return the metrics of the best state, the final one if it is another, and the one without EMA."""
        found = []
        for split in SPLITS:
            for state, key in (("best", "best_step"), ("final", "steps"), ("raw", "steps")):
                where = self.summary if state == "final" else self.summary.get(state, {})
                same = state == "final" and self.summary.get("best_step") == self.summary.get("steps")
                metrics = where.get(split)
                if isinstance(metrics, Mapping) and not same:
                    found.append(Result(split, state, int(self.summary.get(key) or self.steps), metrics))
        return found

    def best(self, split: str) -> Mapping[str, float | None]:
        """Return the metrics of the best state on a split; {} if there are none."""
        return self.summary.get("best", {}).get(split, {})


def read_record(folder: RunFolder) -> Record:
    """Read what a run folder says about its run. Neither data nor weights are read.

    Raises:
        ConfigError: config.yaml cannot be read.
        CheckpointError: another file is damaged; the message names it. One that is missing is noted instead.
    """
    notes: list[str] = []
    config = read_saved(folder.config)
    summary = folder.read_summary()
    if not summary:
        notes.append("The run has not finished: summary.json is missing. This is what was recorded so far.")
    sealed = {}
    for name, path in (("environment", folder.environment), ("data", folder.data), ("model", folder.model)):
        sealed[name] = read_sealed(path) if os.path.lexists(path) else {}
        if not sealed[name]:
            notes.append(f"{path.name} is missing.")
    return Record(
        folder,
        config=config,
        text=folder.config.read_text(encoding="utf-8"),
        started=folder.read_started(),
        summary=summary,
        **sealed,
        rows=_rows(folder, summary, notes),
        arrays=_arrays(folder),
        evaluations=_evaluations(folder),
        notes=tuple(notes),
    )


def _rows(folder: RunFolder, summary: Mapping[str, Any], notes: list[str]) -> tuple[Row, ...]:
    """Read metrics.jsonl: it must be whole if the run has finished, else it may be written at this moment."""
    if summary:
        return tuple(read_metrics(folder.metrics, extent=summary.get("metrics_file")))
    found = read_history(folder.metrics)
    if found.problem and found.problem != "its last line is cut":
        raise CheckpointError(f"{folder.metrics} is damaged, or was edited: {found.problem}")
    if not found.rows:
        notes.append("No metrics have been recorded.")
    return tuple(found.rows)


def _arrays(folder: RunFolder) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the shapes of the newest checkpoint from its manifest; {} if it cannot be read: they are an extra."""
    for step in reversed(checkpoint.steps(folder.checkpoints)):
        path = folder.checkpoints / checkpoint.name_of(step) / checkpoint.MANIFEST
        try:
            found = json.loads(read_bytes(path))["arrays"]
            return {str(name): (str(dtype), tuple(map(int, shape))) for name, (dtype, shape) in found.items()}
        except (CheckpointError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}


def _evaluations(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Read what `dltrain evaluate` has written: the name of a folder in `evaluation/` -> its metrics.json."""
    place = folder.path / "evaluation"
    if place.is_symlink() or not place.is_dir():
        return {}
    found = {}
    for path in sorted(place.glob("*/metrics.json")):
        if not path.is_symlink() and not path.parent.is_symlink():
            found[path.parent.name] = read_sealed(path)
    return found
