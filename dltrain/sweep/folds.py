"""Jobs of a sweep that train folds of the same data: which share a program is known once the data is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dltrain.build.folds import Alike, Config, read_folds
from dltrain.build.parts import Parts
from dltrain.config.paths import with_absolute_paths
from dltrain.devices import runtime
from dltrain.sweep.groups import SweepJob, program_of, varies_fold


@dataclass(frozen=True)
class Group:
    """Jobs that share a program."""

    jobs: list[SweepJob]
    shared: Parts | None = None  # of the program of several folds, built before
    folds: Mapping[int, Parts] = field(default_factory=dict)  # the parts of each

    def of(self, job: SweepJob) -> Parts | None:
        """Return the parts of the fold of a job, where folds share the program."""
        return self.folds.get(_fold(job)) if self.folds else None

    @property
    def program(self) -> str:
        """What decides on the compiled program, as a text."""
        return f"{program_of(self.jobs[0])} {sorted(self.folds) or _fold(self.jobs[0])}"


Read = Callable[[SweepJob, Sequence[int]], list[Alike]]
"""Reads the data of a job, and returns which of these folds share a program."""


def divide_by_fold(jobs: list[SweepJob], read: Read) -> list[Group]:
    """Divide jobs that may differ in their fold into those that share a program; others stay together.

    Folds share one if what is fitted on their training examples differs in values only. A fold that cannot be built
    is a group of its own, so that its run says why.
    """
    config = jobs[0].composed.config
    if not varies_fold(jobs[0]) or config["dry_run"] or jobs[0].population:
        return [Group([job]) for job in jobs] if varies_fold(jobs[0]) else [Group(jobs)]
    alike = read(jobs[0], sorted({_fold(job) for job in jobs}))
    divided = [([job for job in jobs if _fold(job) in each.parts], each) for each in alike]
    groups = [Group(own, each.shared, each.parts) for own, each in divided if own]
    known = {job.number for group in groups for job in group.jobs}
    groups += [Group([job]) for job in jobs if job.number not in known]
    return sorted(groups, key=lambda group: jobs.index(group.jobs[0]))


def read_alike(job: SweepJob, folds: Sequence[int]) -> list[Alike]:
    """Read the data of a job, and return which of these folds share a program; none if it cannot be read."""
    first = with_absolute_paths(job.composed)
    try:
        runtime.start(**first.config["runtime"])
        return read_folds({fold: _with_fold(first.config, fold) for fold in folds}, first.trust)
    except Exception:  # said by each run, of a user's part, too
        return []


def _with_fold(config: Config, fold: int) -> Config:
    return {**config, "data": {**config["data"], "fold": fold}}


def _fold(job: SweepJob) -> int:
    return job.composed.config["data"]["fold"]
