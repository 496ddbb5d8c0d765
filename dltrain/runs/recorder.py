"""Writes the metrics of a run to metrics.jsonl, results.csv and TensorBoard, each step once, also when resumed.

TensorBoard shows one run for each run folder. It sorts tags by their names, and opens the first two groups: the
loss, and the monitored metric.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dltrain.devices.memory import peak
from dltrain.devices.mesh import on_host
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import After, TrainEvent
from dltrain.engine.state import named_leaves
from dltrain.runs.files import writing
from dltrain.runs.folder import RunFolder
from dltrain.runs.history import Extent, read_history
from dltrain.runs.means import OF_ONE_STEP, Means, weighted
from dltrain.runs.sealed import read_bytes
from dltrain.runs.tensorboard import EventWriter

DAMAGED = "metrics.damaged.jsonl"  # what is kept of a damaged metrics.jsonl
TABLE_SECONDS = 1.0  # least time between two writes of results.csv, besides that at the end
OF_TRAINING = (*OF_ONE_STEP, "examples_per_second", "waiting")  # values that no split has


class Recorder:
    """A callback that writes training metrics at every `log_every`-th step, and each evaluation.

    Training loss and metrics are means over the steps since the row before. `trained` are those over the steps
    since the evaluation before the last one, up to the last one. `history` has all written values by split, for
    the figures.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        log_every: int,
        batch_size: int,
        start_step: int = 0,
        extent: Mapping[str, Any] | None = None,
        waited: Callable[[], float] | None = None,
        monitored: str = "",
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Open the files, and drop what a dead run wrote after `start_step`.

        Args:
            folder: the run folder.
            log_every: steps between two rows of training metrics.
            batch_size: examples per step.
            start_step: the step of the checkpoint that training continues from.
            extent: how far metrics.jsonl was written when that checkpoint was saved: the rows that it must have.
            waited: returns the seconds that training has waited for streamed data so far.
            monitored: the name of the monitored metric.
            warn: is told if rows are missing or were altered; the damaged file is then kept.
        """
        self._monitored = monitored
        self._row, self._epoch = Means(), Means()  # of the steps since the last row, and since the last evaluation
        self.trained: dict[str, float] = {}
        self._waited, self._waited_before = waited, 0.0
        self.waiting = 0.0  # share of the time since the last record spent waiting for data
        self.folder, self.log_every, self.batch_size = folder, log_every, batch_size
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.extent = Extent()  # of metrics.jsonl
        self._keep_until(start_step, extent, warn)
        self._table_at = 0.0  # when results.csv was written
        if start_step:
            self._write_table(synced=True)
        self._start_step = start_step
        self._writer: EventWriter | None = None
        self._clock, self._clock_step = time.monotonic(), start_step
        self.speed = 0.0  # examples per second since the last record
        self._file = folder.files.append("metrics.jsonl")

    def _keep_until(self, step: int, extent: Mapping[str, Any] | None, warn: Callable[[str], None]) -> None:
        """Read the rows up to a step, and drop later ones and a line that was cut by a crash from the file."""
        path = self.folder.metrics
        if not path.exists() and not (extent and extent["rows"]):
            return
        found = read_history(path, until=step, extent=extent)
        if found.problem:
            if path.exists():
                self.folder.files.replace(DAMAGED, read_bytes(path))
            warn(
                f"{path} is damaged, or was edited: {found.problem}. {len(found.rows)} rows are kept, in "
                f"{self.folder.results.name} too; the file as it was is {DAMAGED}"
            )
        self.folder.files.replace("metrics.jsonl", b"".join(found.lines))
        for row, line in zip(found.rows, found.lines, strict=True):
            self.history.setdefault(row["split"], []).append(row)
            self.extent.add(line)

    def writer(self) -> EventWriter:
        """Return the writer of TensorBoard's events."""
        if self._writer is None:
            first = self._start_step + 1 if self._start_step else 0  # points of a dead run are dropped from here on
            self._writer = EventWriter(self.folder.events, start_step=first)
        return self._writer

    def tag(self, name: str, split: str) -> str:
        """Return the tag of a value in TensorBoard: its group, its name, its split."""
        if split == "test":  # a single point, at the end
            return f"results/final/test/{name}"
        if name.partition("/")[0] == "loss":
            return f"{name}/{split}"
        if name in OF_TRAINING:
            return f"training/{name}"
        return f"{'monitored' if name == self._monitored else 'other metrics'}/{name}/{split}"

    def __call__(self, event: TrainEvent) -> After | None:
        """Write the training metrics once they are available: now if an evaluation has waited for them."""
        if not event.results:
            return After(lambda: self._training(event))
        self._write_training(event)
        self.trained, self._epoch = self._epoch.values(), Means()
        for split, found in event.results.items():
            self._write_evaluation(event.step, split, found)
        self.flush()
        if time.monotonic() - self._table_at > TABLE_SECONDS:
            self._write_table(synced=False)
        self.histograms(event.step, event.state.params)
        memory = {f"training/{of}_peak_bytes": float(n) for of, n in peak().items()}
        self.writer().scalars(event.step, memory)
        return None

    def _training(self, event: TrainEvent) -> None:
        self._write_training(event)
        self.flush()

    def _write_training(self, event: TrainEvent) -> None:
        logs, values = event.logs, event.logs.values
        now = time.monotonic()
        self.speed = (event.step - self._clock_step) * self.batch_size / max(now - self._clock, 1e-9)
        if self._waited:
            waited = self._waited()
            self.waiting = (waited - self._waited_before) / max(now - self._clock, 1e-9)
            self._waited_before = waited
        self._clock, self._clock_step = now, event.step
        extra = {"examples_per_second": self.speed} | ({"waiting": self.waiting} if self._waited else {})
        chunk, done = weighted(values), 0
        self._epoch.add(chunk, 0, logs.count)
        for i in range(self.log_every - 1 - (logs.first - 1) % self.log_every, logs.count, self.log_every):
            self._row.add(chunk, done, i + 1)
            means, done = self._row.values(), i + 1
            now_at = {name: float(values[name][i]) for name in OF_ONE_STEP if name in values}
            self._write(logs.first + i, "train", {**means, **now_at, **extra})
            self._row = Means()
        self._row.add(chunk, done, logs.count)

    def state(self) -> dict[str, Any]:
        """Return the sums since the last row and the last evaluation, and how far metrics.jsonl is written."""
        return {"row": self._row.state(), "epoch": self._epoch.state(), "file": self.extent.state()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._row, self._epoch = Means.restored(saved["row"]), Means.restored(saved["epoch"])

    def evaluation(self, step: int, split: str, found: Evaluation) -> None:
        """Write one evaluation, unless it is already there: a run may have died between it and its summary.

        Evaluations of `train` have another name, since `train` has means over the steps of training.
        """
        self._write_evaluation(step, split, found)
        self.flush()

    def _write_evaluation(self, step: int, split: str, found: Evaluation) -> None:
        split = "train_evaluated" if split == "train" else split
        if self.history.get(split, [{}])[-1].get("step") == step:
            return
        self._write(step, split, found.scalars)

    def results(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the results of a finished run for the HPARAMS tab of TensorBoard, which shows last values."""
        self.writer().scalars(step, {f"results/{name}": value for name, value in scalars.items()})

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers with which training goes on after this step, for TensorBoard."""
        self.writer().scalars(step, {f"training/{key}": value for key, value in values.items()})

    def figure(self, step: int, name: str, png: bytes) -> None:
        """Write a figure of the report."""
        self.writer().image(step, f"report/{name}", png)

    def histograms(self, step: int, params: Any) -> None:
        """Write a histogram of the values of each parameter."""
        leaves = named_leaves(params)
        values = on_host(list(leaves.values()))
        self.writer().histograms(step, {f"weights/{name}": v for name, v in zip(leaves, values, strict=True)})

    def close(self) -> None:
        """Flush and close all files, and write the table for good; raises if a write fails."""
        with writing(self.folder.path):
            self._file.close()
            if self._writer:
                self._writer.close()
        if set(self.history) - {"train"}:
            self._write_table(synced=True)

    def _write(self, step: int, split: str, scalars: Mapping[str, float]) -> None:
        row = {"step": step, "split": split, **{name: _number(value) for name, value in scalars.items()}}
        self.history.setdefault(split, []).append(row)
        with writing(lambda: self.folder.metrics):
            line = json.dumps(row) + "\n"
            self._file.write(line)
            self.extent.add(line.encode("utf-8"))
            self.writer().scalars(step, {self.tag(name, split): value for name, value in scalars.items()})

    def _write_table(self, *, synced: bool) -> None:
        self.folder.files.replace_text("results.csv", _table(self.history), synced=synced)
        self._table_at = time.monotonic()

    def flush(self) -> None:
        """Flush everything written so far to the operating system."""
        with writing(lambda: self.folder.metrics):
            self._file.flush()
            self.folder.files.check_open("metrics.jsonl", self._file)
            if self._writer:
                self._writer.flush()


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _table(history: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return a CSV row per evaluation: step, split, and each metric."""
    rows = [row for split, found in history.items() if split != "train" for row in found]
    rows.sort(key=lambda row: row["step"])
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
