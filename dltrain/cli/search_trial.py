"""One trial of a search: where it begins, what may end it early, and what came of it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.callbacks.pruning import Pruning
from dltrain.cli.job import find_note
from dltrain.composition import objective
from dltrain.composition.launch import Job
from dltrain.config.constraints import number_of, read_constraints
from dltrain.errors import CheckpointError, LockedError
from dltrain.report.console import shown
from dltrain.runs.copied import KNOWN
from dltrain.runs.folder import RunFolder
from dltrain.runs.history import read_history
from dltrain.sweep.plan import can_resume
from dltrain.sweep.search import Ended, Proposal

PATIENCE = 60.0  # seconds until the process of an earlier start has left the folder of a trial


@dataclass(frozen=True)
class Trial:
    """A trial, with everything that a process needs to train it."""

    proposal: Proposal
    job: Job
    fixed: tuple[str, ...]  # keys that have one value in all trials
    settings: Mapping[str, Any]  # the node `sweep`

    @property
    def number(self) -> int:
        """The number of its job."""
        return self.proposal.number

    @property
    def label(self) -> str:
        """The overrides that were chosen."""
        return " ".join(self.proposal.words)


def make_room(trial: Trial) -> None:
    """Make the folder of a trial, without what a run that cannot go on has left in it."""
    folder = trial.job.folder
    if folder.is_dir() and not (trial.proposal.begun and can_resume(folder)):
        run = RunFolder(folder)
        _lock(run)
        try:
            run.clear()
        finally:
            run.release()
    folder.mkdir(parents=True, exist_ok=True)
    RunFolder(folder).failure.unlink(missing_ok=True)


def wait_for(trial: Trial) -> None:
    """Wait until the process in which an earlier start has begun this trial has ended: it saves, and then ends.

    Raises:
        LockedError: it has not ended.
    """
    if trial.job.folder.is_dir():
        run = RunFolder(trial.job.folder)
        _lock(run)
        run.release()


def _lock(run: RunFolder) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return run.lock()
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def watch(trial: Trial, should_stop: Callable[[int, float], bool]) -> Callable[[Any], Sequence[Any]] | None:
    """Make what ends a run where the pruner says so, which `should_stop(evaluation, value)` asks; None without one.

    A run that goes on has its earlier evaluations counted.
    """
    pruner, objectives = trial.settings["pruner"], trial.settings["objectives"]
    if pruner == "none":
        return None

    def make(plan: Any) -> list[Pruning]:
        monitor = plan.monitor
        if not objectives and not monitor:
            return []
        split, _, name = objectives[0].partition("/") if objectives else (monitor.split, "/", monitor.name)

        def decide(evaluation: int, value: float) -> str:
            stops = should_stop(evaluation, value)
            return f"pruned: {split}/{name} {shown(value)} at evaluation {evaluation} ({pruner})" if stops else ""

        return [Pruning(split, name, decide, _evaluated(trial, split))]

    return make


def _evaluated(trial: Trial, split: str) -> list[int]:
    """Return the steps at which an earlier process has evaluated this trial."""
    if not trial.proposal.begun:
        return []
    rows = read_history(RunFolder(trial.job.folder).metrics).rows
    return sorted({row["step"] for row in rows if row["split"] == split})


def known_from(trial: Trial) -> str:
    """Return the run of an earlier sweep that a trial was copied from; "" if it was trained."""
    try:
        return RunFolder(trial.job.folder).read_started().get(KNOWN, "")
    except CheckpointError:
        return ""


def evaluations(trial: Trial, monitor: str) -> list[float]:
    """Return the value of the only objective, else of what is monitored, at each evaluation of a trial's run."""
    split, _, name = (*trial.settings["objectives"], monitor)[0].partition("/")
    rows = {
        row["step"]: row for row in read_history(RunFolder(trial.job.folder).metrics).rows if row["split"] == split
    }
    return [math.nan if row.get(name) is None else float(row[name]) for _, row in sorted(rows.items())]


def read_end(trial: Trial) -> tuple[Ended | None, Mapping[str, Any]]:
    """Return what came of a trial, None if it has not ended, and its summary, {} if it failed."""
    run, note = RunFolder(trial.job.folder), find_note(trial.job)
    if run.summary.exists():
        summary = run.read_summary()
        return _ended(summary, trial.settings), summary
    return (Ended(failed=note["reason"]) if note.get("reason") else None), {}


def _ended(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> Ended:
    """Read what came of a run from its summary."""
    reason = str(summary.get("stop_reason", ""))
    constraints = read_constraints(settings["constraints"])
    violations = {str(c): c.violation(number_of(summary, c.name)) for c in constraints}
    known = {name: value for name, value in violations.items() if math.isfinite(value)}
    if reason.startswith("pruned"):
        return Ended(pruned=reason, violations=known)
    if unknown := next((name for name in violations if name not in known), None):
        return Ended(failed=f"sweep.constraints: {unknown}: the run has no such number")
    found = objective.values(summary, settings["objectives"])
    values = tuple(found) if isinstance(found, list) else (found,)
    if all(map(math.isfinite, values)):
        return Ended(values, violations=known)
    names = ", ".join(settings["objectives"]) or summary.get("monitor") or "no monitored metric"
    return Ended(failed=f"{names}: is not a finite number: {', '.join(map(str, values))}")
