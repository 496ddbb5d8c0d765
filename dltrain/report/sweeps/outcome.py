"""What came of a sweep: its jobs in a table, the best of them, and what is said about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.config.changes import read_saved
from dltrain.report.console import shown
from dltrain.report.seeds import difference
from dltrain.report.sweeps.importance import importance
from dltrain.report.sweeps.jobs import Job, scored
from dltrain.report.sweeps.keys import Value, varied
from dltrain.report.sweeps.population import History, read_history
from dltrain.report.sweeps.table import Row, deviation_of, mean_of
from dltrain.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """The jobs of a sweep and what follows from them."""

    folder: Path
    jobs: tuple[Job, ...]
    rows: tuple[Row, ...]  # the best first

    @property
    def monitor(self) -> str:
        """The monitored metric by which the best job is chosen; "" without one."""
        return self.rows[0].monitor if self.rows and self.rows[0].scores else ""

    @property
    def metric(self) -> str:
        """Its name without the split."""
        return self.monitor.partition("/")[2]

    @property
    def higher(self) -> bool:
        """Whether more of it is better."""
        return bool(self.finished and self.finished[0].summary.get("higher_is_better"))

    @property
    def ranked(self) -> list[Row]:
        """The rows that have the monitored metric and violate no constraint, the best first."""
        return [row for row in self.rows if row.monitor == self.monitor and row.scores and not row.violated]

    @cached_property
    def finished(self) -> list[Job]:
        """The run folders with a finite value of the monitored metric."""
        found = scored(self.jobs, self.monitor) if self.monitor else []
        return [job for job in found if RunFolder(job.folder).config.is_file()]

    @cached_property
    def best(self) -> Job | None:
        """The best job of the best row; None if no row has results, and violates no constraint."""
        first = self.rows[0] if self.rows and not self.rows[0].violated else None
        known = scored(first.jobs, first.monitor) if first and first.monitor else []
        if not known:
            return None
        sign = -1 if known[0].summary.get("higher_is_better") else 1
        return min(known, key=lambda job: sign * (job.score or 0.0))

    @property
    def scores(self) -> list[float]:
        """The monitored metric of each finished job."""
        return [job.score for job in self.finished if job.score is not None]

    @cached_property
    def keys(self) -> dict[str, list[Value]]:
        """The keys in which finished jobs differ, the most important first, with their values."""
        found = varied(self.finished)
        order = list(self.importance[0]) if self.importance[0] else []
        return dict(
            sorted(found.items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
        )

    @cached_property
    def history(self) -> History | None:
        """The exchanges of a population; None of another sweep."""
        return read_history(self.folder)

    @cached_property
    def importance(self) -> tuple[dict[str, float], str]:
        """The importance of each key, and why it is not known."""
        if self.history:
            return {}, "the members of a population change their numbers"
        return importance(varied(self.finished), self.scores, higher=self.higher)

    def sentences(self) -> list[str]:
        """Say what a reader must know about the best config."""
        population = self.history.sentences(self.best.name) if self.history and self.best else []
        return [line for line in (self._infeasible(), self._optimistic(), self._apart(), *population) if line]

    def _infeasible(self) -> str:
        """Say that there is no best job, if each of them violates a constraint."""
        if not self.finished or not all(job.violated for job in self.finished):
            return ""
        return "No job satisfies sweep.constraints, so none is the best: the table says what each of them violates."

    def _optimistic(self) -> str:
        """Say that the best of many is an optimistic estimate, and compare its test metric with the others'."""
        rows = self.ranked
        if len(rows) < 2 or not self.best:
            return ""
        best, others = rows[0], [mean for row in rows[1:] if (mean := mean_of(row.tests)) is not None]
        begin = (
            f"Best of {len(rows)} configs by {self.monitor}: {named(best)} with {shown(mean_of(best.scores))}. As "
            "the best of several this is an optimistic estimate, since some of it is luck."
        )
        if not best.tests or not others:
            return f"{begin} Without a test result it is not known by how much."
        test = f"{begin} Its test {self.metric} is {shown(mean_of(best.tests))}"
        if len(others) == 1:
            return f"{test}; that of the other is {shown(others[0])}."
        spread = f"{shown(mean_of(others))} ± {shown(deviation_of(others))}"
        return f"{test}; the {len(others)} others have {spread} ({shown(min(others))} to {shown(max(others))})."

    def _apart(self) -> str:
        """Say whether the best two configs differ by more than their seeds do; "" with one seed each."""
        if len(rows := self.ranked) < 2 or len(rows[0].tests) < 2 or len(rows[1].tests) < 2:
            return ""
        repeated = sum(len(row.tests) > 1 for row in rows)
        found = difference(rows[0].tests, rows[1].tests, pairs=repeated * (repeated - 1) // 2)
        if found is None:
            return ""
        low, high = found.interval
        larger = "is larger" if found.clear else "is not larger"
        return (
            f"Test {self.metric} of {named(rows[0])} and of {named(rows[1])} differs by {shown(abs(found.value))}, "
            f"which {larger} than the spread across their runs (95 % interval {shown(low)} to {shown(high)}; "
            f"Welch's t-test, p = {found.p:.2g}, adjusted for the number of pairs)."
        )

    @cached_property
    def objectives(self) -> tuple[list[str], list[Job], np.ndarray, list[bool]] | None:
        """Two objectives, the feasible jobs with both, their values [N, 2], and whether more of each is better."""
        if not self.finished:
            return None
        config = read_saved(RunFolder(self.finished[0].folder).config)
        names = [str(name) for name in (config.get("sweep") or {}).get("objectives") or []]
        if len(names) != 2:
            return None
        pairs = [(job, [job.value(name) for name in names]) for job in self.finished]
        known = [(job, values) for job, values in pairs if None not in values and not job.violated]
        if not known:
            return None
        higher = [_is_higher(name, config) for name in names]
        return names, [job for job, _ in known], np.array([values for _, values in known], np.float64), higher

    def front(self) -> list[Job]:
        """Return the jobs on the Pareto front of two objectives; [] without them."""
        if self.objectives is None:
            return []
        _, jobs, values, higher = self.objectives
        return [jobs[i] for i in front_of(values, higher)]


def front_of(values: np.ndarray, higher: Sequence[bool]) -> list[int]:
    """Return the indices of the points [N, 2] that no other point beats: the Pareto front, by the first objective.

    Args:
        values: finite objectives.
        higher: of each objective, whether more of it is better.
    """
    costs = np.where(np.asarray(higher), -values, values)
    order = np.lexsort((costs[:, 1], costs[:, 0]))
    found: list[int] = []
    for i in order.tolist():
        if not found or costs[i, 1] < costs[found[-1], 1]:
            found.append(i)
    return found


def named(row: Row) -> str:
    """Name a row by its jobs and what is special about it: `job 6 (optim.learning_rate=0.01)`."""
    names = row.folders.split(" ")
    jobs = f"job {names[0]}" if len(names) == 1 else f"jobs {', '.join(names)}"
    return f"{jobs} ({row.overrides})" if row.overrides else jobs


def _is_higher(name: str, config: Mapping[str, Any]) -> bool:
    """Tell whether more of an objective is better: of a metric as its YAML says; less of anything else is."""
    _, slash, metric = name.partition("/")
    node = config.get("metrics", {}).get(metric) if slash else None
    return isinstance(node, Mapping) and node.get("better") == "higher"
