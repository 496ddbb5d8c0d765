"""The table at the end of a sweep: runs sorted by the monitored metric, seeds and folds grouped."""

import csv
import io
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from dltrain.config.folders import read_yaml
from dltrain.errors import DltrainError
from dltrain.report.console import Screen, shown
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder

COLUMNS = ("runs", "failed", "overrides", "monitor", "mean", "deviation", "test_mean", "test_deviation", "folders")


@dataclass(frozen=True)
class Job:
    """One run of a sweep, finished or failed."""

    folder: Path
    name: str  # the folder's, inside that of the sweep
    overrides: tuple[str, ...]
    summary: dict[str, Any]  # empty if it failed
    failure: str = ""  # the error message, if it failed before it had a run folder

    @property
    def score(self) -> float | None:
        """The monitored metric at the best step; None without one."""
        split, _, name = (self.summary.get("monitor") or "").partition("/")
        return self.summary.get("best", {}).get(split, {}).get(name)

    @property
    def test(self) -> float | None:
        """The same metric on the test split."""
        _, _, name = (self.summary.get("monitor") or "").partition("/")
        return self.summary.get("best", {}).get("test", {}).get(name)


def summarise(folder: Path, paths: Sequence[Path]) -> None:
    """Print the table of the sweep in `folder`, whose jobs wrote to `paths`, and write it to `sweep.csv`."""
    jobs = [_read(path, os.path.relpath(path, folder)) for path in paths]
    if not jobs:
        return
    rows = _rows(jobs)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    Files(folder).replace_text("sweep.csv", text.getvalue())
    screen = Screen()
    screen.say()
    screen.print(_table(rows, jobs))
    for job in jobs:
        if job.failure:
            screen.say(f"job {job.name}: {job.failure}")
    screen.say(f"sweep   {folder}  (sweep.csv; compare runs with: tensorboard --logdir {folder}, HPARAMS)")


def _read(path: Path, name: str) -> Job:
    run, overrides = RunFolder(path), ()
    if run.failure.is_file():
        return Job(path, name, (), {}, run.failure.read_text(encoding="utf-8").strip())
    try:
        overrides = tuple(read_yaml(run.overrides)["overrides"]) if run.overrides.exists() else ()
        return Job(path, name, overrides, run.read_summary())
    except (DltrainError, KeyError, TypeError):  # the process died while writing
        return Job(path, name, overrides, {})


def _rows(jobs: list[Job]) -> list[dict[str, Any]]:
    """Group runs that differ only in seed or fold, and sort by the monitored metric, failed runs last."""
    groups: dict[tuple[str, ...], list[Job]] = {}
    started = [set(job.overrides) for job in jobs if job.overrides]
    common = set.intersection(*started) if len(started) > 1 else set()
    for job in jobs:
        varied = tuple(o for o in job.overrides if not o.startswith(("seed=", "data.fold=")) and o not in common)
        failed = f"job {job.name} failed before it started"
        groups.setdefault(varied if job.overrides else (failed,), []).append(job)
    rows = []
    for overrides, group in groups.items():
        scores = [job.score for job in group if job.score is not None]
        tests = [job.test for job in group if job.test is not None]
        monitor = next((job.summary["monitor"] for job in group if job.summary.get("monitor")), "")
        rows.append({
            "runs": len(group),
            "failed": sum(not job.summary for job in group),
            "overrides": " ".join(overrides),
            "monitor": monitor,
            "mean": statistics.fmean(scores) if scores else None,
            "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
            "test_mean": statistics.fmean(tests) if tests else None,
            "test_deviation": statistics.stdev(tests) if len(tests) > 1 else None,
            "folders": " ".join(job.name for job in group),
        })  # fmt: skip
    higher = next((job.summary["higher_is_better"] for job in jobs if job.summary), True)
    return sorted(rows, key=lambda r: (r["mean"] is None, (r["mean"] or 0.0) * (-1 if higher else 1)))


def _table(rows: list[dict[str, Any]], jobs: list[Job]) -> Table:
    monitor = next((row["monitor"] for row in rows if row["monitor"]), "monitored metric")
    failed = sum(not job.summary for job in jobs)
    title = f"{len(jobs)} runs" + (f", {failed} failed" if failed else "")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    for column, side in (("jobs", "left"), ("overrides", "left"), (monitor, "right"), ("test", "right")):
        table.add_column(column, justify=side)
    for row in rows:
        score = (
            _spread(row["mean"], row["deviation"]) if row["mean"] is not None else "failed" * bool(row["failed"])
        )
        table.add_row(row["folders"], row["overrides"], score, _spread(row["test_mean"], row["test_deviation"]))
    return table


def _spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return ""
    return shown(mean) + (f" ± {shown(deviation)}" if deviation is not None else "")
