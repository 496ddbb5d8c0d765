"""The table of a sweep: runs that differ only in seed or fold are one row, and the best row comes first."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.report.console import shown
from dltrain.report.sweeps.jobs import Job
from dltrain.report.width import Column

COLUMNS = (
    "runs",
    "failed",
    "known",
    "overrides",
    "monitor",
    "mean",
    "deviation",
    "test_mean",
    "test_deviation",
    "folders",
    "violated",
)


@dataclass(frozen=True)
class Row:
    """Jobs with the same config apart from seed and fold."""

    overrides: str  # those in which rows differ
    jobs: tuple[Job, ...]

    @property
    def monitor(self) -> str:
        """What its jobs monitored."""
        return next((job.monitor for job in self.jobs if job.monitor), "")

    @property
    def scores(self) -> list[float]:
        """The monitored metric of each job that has it."""
        return [job.score for job in self.jobs if job.score is not None]

    @property
    def tests(self) -> list[float]:
        """The same metric on the test split."""
        return [job.test for job in self.jobs if job.test is not None]

    @property
    def folders(self) -> str:
        """The folders of its jobs."""
        return " ".join(job.name for job in self.jobs)

    @property
    def violated(self) -> str:
        """The constraints that one of its jobs does not satisfy; "" if all are satisfied."""
        return ", ".join(dict.fromkeys(text for job in self.jobs for text in job.violated))

    @property
    def known(self) -> int:
        """The number of its jobs that were copied from an earlier sweep."""
        return sum(bool(job.known) for job in self.jobs)

    @property
    def failed(self) -> int:
        """The number of its jobs that failed."""
        return sum(job.failed for job in self.jobs)


def make_rows(jobs: Sequence[Job]) -> list[Row]:
    """Group jobs that differ only in seed or fold, and sort by the monitored metric.

    Those that violate a constraint come after the others, and those that failed are the last.
    """
    groups: dict[tuple[str, ...], list[Job]] = {}
    started = [set(job.overrides) for job in jobs if job.overrides]
    common = set.intersection(*started) if len(started) > 1 else set()
    for job in jobs:
        varied = tuple(o for o in job.overrides if not o.startswith(("seed=", "data.fold=")) and o not in common)
        failed = f"job {job.name} failed before it started"
        groups.setdefault(varied if job.overrides else (failed,), []).append(job)
    rows = [Row(" ".join(overrides), tuple(group)) for overrides, group in groups.items()]
    better = {job.summary["monitor"]: job.summary["higher_is_better"] for job in jobs if job.summary}
    monitors = list(better)

    def place(row: Row) -> tuple[Any, ...]:
        sign = -1 if better.get(row.monitor) else 1
        known = row.monitor in better
        mean = mean_of(row.scores)
        return mean is None, bool(row.violated), monitors.index(row.monitor) if known else 0, sign * (mean or 0.0)

    return sorted(rows, key=place)


def as_csv(rows: Sequence[Row]) -> str:
    """Write the rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        numbers = [of(values) for values in (row.scores, row.tests) for of in (mean_of, deviation_of)]
        about = [len(row.jobs), row.failed, row.known, row.overrides, row.monitor]
        writer.writerow([*about, *numbers, row.folders, row.violated])
    return text.getvalue()


def for_terminal(rows: Sequence[Row]) -> tuple[list[Column], list[list[str]]]:
    """Return columns and cells: for each monitored metric one column of validation and one of test."""
    monitors = list(dict.fromkeys(row.monitor for row in rows if row.monitor))
    columns = [Column("jobs"), Column("overrides", wraps=True)]
    for monitor in monitors:
        columns += [Column(monitor, right=True), Column(f"test/{monitor.partition('/')[2]}", right=True)]
    columns += [] if monitors else [Column("result")]
    cells = [[row.folders, row.overrides, *results(row, monitors)] for row in rows]
    if not any(row.violated for row in rows):
        return columns, cells
    marked = [[*line, row.violated] for line, row in zip(cells, rows, strict=True)]
    return [*columns, Column("violates", wraps=True)], marked


def results(row: Row, monitors: Sequence[str]) -> list[str]:
    """Return the cells of a row's results: for each monitored metric its value, and that on the test split."""
    values: list[str] = []
    for monitor in monitors:
        values += [spread(row.scores), spread(row.tests)] if row.monitor == monitor else ["", ""]
    if not row.scores and row.failed:
        values[:1] = ["failed"]
    return values or [""]


def spread(values: Sequence[float]) -> str:
    """Write mean ± standard deviation; "" without values."""
    mean, deviation = mean_of(values), deviation_of(values)
    if mean is None:
        return ""
    return shown(mean) + (f" ± {shown(deviation)}" if deviation is not None else "")


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return statistics.fmean(values) if values else None


def deviation_of(values: Sequence[float]) -> float | None:
    """Return the standard deviation of the sample, None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None
