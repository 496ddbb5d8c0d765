"""The table at the end of a sweep: runs sorted by the monitored metric, seeds and folds grouped."""

import csv
import io
import os
import shlex
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dltrain.errors import DltrainError
from dltrain.report.console import Screen, shown
from dltrain.report.width import Column
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
    interrupted: bool = False  # stopped by a signal, and can be resumed

    @property
    def failed(self) -> bool:
        """Whether it ended without results, by itself."""
        return not self.summary and not self.interrupted

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


def summarise(folder: Path, paths: Sequence[Path], *, interrupted: Collection[Path] = ()) -> None:
    """Print the table of the sweep in `folder`, whose jobs wrote to `paths`, and write it to `sweep.csv`."""
    read = [_read(path, os.path.relpath(path, folder)) for path in paths]
    jobs = [replace(job, interrupted=job.folder in interrupted) for job in read]
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
    ended = {"failed": sum(job.failed for job in jobs), "interrupted": sum(job.interrupted for job in jobs)}
    counts = [f"{len(jobs)} runs", *(f"{count} {how}" for how, count in ended.items() if count)]
    title = ", ".join([*counts, "each at its best state"])
    screen.table(title, *_table(rows))
    for job in jobs:
        if job.failure:
            screen.say(f"job {job.name}: {job.failure}")
    screen.say(f"table   {folder / 'sweep.csv'}", whole=True)
    screen.say(f"next    tensorboard --logdir {shlex.quote(str(folder))}", whole=True)


def _read(path: Path, name: str) -> Job:
    run, overrides = RunFolder(path), ()
    if run.failure.is_file():
        return Job(path, name, (), {}, run.failure.read_text(encoding="utf-8", errors="replace").strip())
    try:
        overrides = tuple(run.read_started().get("overrides", ()))
        return Job(path, name, overrides, run.read_summary())
    except DltrainError as error:
        return Job(path, name, overrides, {}, str(error))


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
            "failed": sum(job.failed for job in group),
            "overrides": " ".join(overrides),
            "monitor": monitor,
            "mean": statistics.fmean(scores) if scores else None,
            "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
            "test_mean": statistics.fmean(tests) if tests else None,
            "test_deviation": statistics.stdev(tests) if len(tests) > 1 else None,
            "folders": " ".join(job.name for job in group),
        })  # fmt: skip
    better = {job.summary["monitor"]: job.summary["higher_is_better"] for job in jobs if job.summary}
    monitors = list(better)

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        sign = -1 if better.get(row["monitor"]) else 1
        known = row["monitor"] in better
        return row["mean"] is None, monitors.index(row["monitor"]) if known else 0, sign * (row["mean"] or 0.0)

    return sorted(rows, key=place)


def _table(rows: list[dict[str, Any]]) -> tuple[list[Column], list[list[str]]]:
    """Return columns and cells: for each monitored metric one column of validation and one of test."""
    monitors = list(dict.fromkeys(row["monitor"] for row in rows if row["monitor"]))
    columns = [Column("jobs"), Column("overrides", wraps=True)]
    for monitor in monitors:
        columns += [Column(monitor, right=True), Column(f"test/{monitor.partition('/')[2]}", right=True)]
    columns += [] if monitors else [Column("result")]
    cells = []
    for row in rows:
        values = []
        for monitor in monitors:
            mine = row["monitor"] == monitor
            values += [_spread(row[f"{of}mean"], row[f"{of}deviation"]) if mine else "" for of in ("", "test_")]
        if row["mean"] is None and row["failed"]:
            values[:1] = ["failed"]
        cells.append([row["folders"], row["overrides"], *(values or [""])])
    return columns, cells


def _spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return ""
    return shown(mean) + (f" ± {shown(deviation)}" if deviation is not None else "")
