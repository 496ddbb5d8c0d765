"""What a sweep is doing, at the bottom of a terminal while jobs train: the best so far, what runs, the time left.

In a file or a pipe, and with quiet=true, nothing is shown.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.live import Live
from rich.text import Text

from dltrain.engine.events import TrainEvent
from dltrain.report.console import Screen, clock, shown
from dltrain.runs.summary import monitored

MOST = 8  # jobs that are shown
ENOUGH = 0.1  # of a job, before the time left is estimated
KNOWN = "known"
WAYS = ("trained", KNOWN, "pruned", "failed")  # in which a job ends; known: an earlier sweep has trained it


@dataclass
class _Running:
    """A job that trains."""

    label: str
    step: int = 0
    total: int = 0
    epoch: float = 0.0
    metric: str = ""  # of its last evaluation, with its name

    @property
    def done(self) -> float:
        """The part of it that is trained."""
        return self.step / self.total if self.total else 0.0


@dataclass
class Board:
    """Follows the jobs of a sweep; may be used from several threads."""

    jobs: int  # how many the sweep has
    quiet: bool = False
    before: int = 0  # how many had ended when it began
    now: Callable[[], float] = time.monotonic
    _best: tuple[int, str, str] | None = None  # job, its metric, its label
    _ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    _running: dict[int, _Running] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _began: float | None = None

    @contextlib.contextmanager
    def job(self, number: int, label: str) -> Generator[Callable[..., None]]:
        """Follow a job; the caller gives its summary, or None if it failed, to what this yields."""
        self.begin(number, label)
        try:
            yield lambda summary, **how: self.end(number, way_of(summary, **how) if summary else "failed")
        finally:
            self.end(number)

    def begin(self, number: int, label: str) -> None:
        """A job begins."""
        with self._lock:
            self._began = self.now() if self._began is None else self._began
            self._running[number] = _Running(label)

    def progress(self, number: int, *, step: int, total: int, epoch: float, metric: str = "") -> None:
        """A job has trained some steps; `metric` is what a new evaluation has found, with its name."""
        with self._lock:
            if job := self._running.get(number):
                job.step, job.total, job.epoch = step, total, epoch
                job.metric = metric or job.metric

    def end(self, number: int, how: str = "") -> None:
        """A job has ended in one of WAYS; without one it was interrupted."""
        with self._lock:
            if self._running.pop(number, None) and how:
                self._ended[how] += 1

    def lead(self, number: int, label: str, metric: str) -> None:
        """A job is the best so far."""
        with self._lock:
            self._best = (number, metric, label)

    def watching(self, number: int, watch: Callable[[Any], Sequence[Any]] | None) -> Callable[[Any], list[Any]]:
        """Return what makes the callbacks of a job: those of `watch`, and one that reports progress here."""

        def report(**about: Any) -> None:
            self.progress(number, **about)

        return lambda plan: [progress_callback(plan, report), *(watch(plan) if watch else ())]

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        """Show it while jobs train without output of their own; what is printed meanwhile appears above it."""
        screen = Screen(quiet=self.quiet)
        if not screen.console.is_terminal or self.quiet:
            yield
            return
        console = screen.console

        def render() -> Text:
            lines = self.lines(screen.width or 80, console.height - 2)
            return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

        with Live(console=console, get_renderable=render, refresh_per_second=4, transient=True):
            yield

    def say(self) -> None:
        """Print how far the sweep is, before a job that has output of its own."""
        screen = Screen(quiet=self.quiet)
        if screen.console.is_terminal and any(self._ended.values()):
            for line in self.lines(screen.width or 80)[: 2 if self._best else 1]:
                screen.say(line)

    def lines(self, width: int, height: int = 24) -> list[str]:
        """Return the lines of the board, none longer than `width`."""
        with self._lock:
            found = [self._summary(width)]
            if self._best:
                number, metric, label = self._best
                found.append(f"best    job {number}  {metric}  {label}")
            room = max(1, min(MOST, height - len(found) - 1))
            running = sorted(self._running.items())
            kept = running if len(running) <= room else running[: max(0, room - 1)]
            found += self._table(kept, width)
            if len(kept) < len(running):
                found.append(f"        and {len(running) - len(kept)} more")
        return [_cut(line, width) for line in found]

    def _summary(self, width: int) -> str:
        ended = sum(self._ended.values()) + self.before
        other = [f"{count} {how}" for how, count in self._ended.items() if count and how != "trained"]
        left = self._left()
        parts = [f"{ended} of {self.jobs} jobs ended", *other, f"{len(self._running)} running"]
        line = ", ".join(parts) + (f"; {clock(left)} left" if left is not None else "")
        return line if len(line) <= width else line.replace(" jobs ended", "")

    def _left(self) -> float | None:
        """Estimate the seconds that are left, from the share of the steps that is done."""
        known = self._ended[KNOWN]  # which took no time
        share = sum(self._ended.values()) - known + sum(job.done for job in self._running.values())
        if self._began is None or share < ENOUGH:
            return None
        return (self.now() - self._began) * (self.jobs - self.before - known - share) / share

    def _table(self, running: Sequence[tuple[int, _Running]], width: int) -> list[str]:
        """Return a line for each job, with the same columns; a narrow terminal cuts the labels."""
        cells = [
            (f"job {number}", f"epoch {job.epoch:.1f}" if job.total else "starting", f"{job.done:.0%}", job.metric)
            for number, job in running
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = []
        for row, (_, job) in zip(cells, running, strict=True):
            name, epoch, _, metric = (cell.ljust(wide) for cell, wide in zip(row, widths, strict=True))
            parts = [name, epoch, row[2].rjust(widths[2]), *([metric] if widths[3] else []), job.label]
            rows.append("  ".join(parts).rstrip())
        return rows


def progress_callback(plan: Any, report: Callable[..., None]) -> Callable[[TrainEvent], None]:
    """Make a callback that reports how far a run of this plan is, and its monitored metric."""
    monitor = plan.monitor

    def progress(event: TrainEvent) -> None:
        metric = ""
        if monitor and monitor.split in event.results:
            value = event.results[monitor.split].scalars.get(monitor.name)
            metric = "" if value is None else f"{monitor.split}/{monitor.name} {shown(float(value))}"
        report(step=event.step, total=event.total, epoch=event.epoch, metric=metric)

    return progress


def way_of(summary: Mapping[str, Any], *, known: bool = False) -> str:
    """Tell in which of WAYS a run with this summary has ended."""
    if known:
        return KNOWN
    return "pruned" if str(summary.get("stop_reason", "")).startswith("pruned") else "trained"


def metric_of(summary: Mapping[str, Any]) -> str:
    """Write the monitored metric of a run with its name; "" without one."""
    value = monitored(summary)
    return "" if value is None else f"{summary['monitor']} {shown(value)}"


def line_of(number: int, label: str, summary: Mapping[str, Any], *, known: str = "") -> str:
    """Write what came of a job; `known` is the run of an earlier sweep that it was copied from."""
    parts = [
        f"job {number}: {label}",
        metric_of(summary),
        f"known from {known}, not trained again" if known else "",
    ]
    return "  ".join(part for part in parts if part)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
