"""Jobs of a sweep that train folds of the same data: which share a program is known once the data is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dltrain.build.folds import Alike, read_folds
from dltrain.build.parts import Parts
from dltrain.config.paths import with_absolute_paths
from dltrain.devices import runtime
from dltrain.sweep.groups import SweepJob, varies_fold


@dataclass(frozen=True)
class Group:
    """Jobs that share a program."""

    jobs: list[SweepJob]
    shared: Parts | None = None  # of the program of several folds, built before
    folds: Mapping[int, Parts] = field(default_factory=dict)  # the parts of each

    def of(self, job: SweepJob) -> Parts | None:
        """Return the parts of the fold of a job, where folds share the program."""
        return self.folds.get(_fold(job)) if self.folds else None


def divide_by_fold(jobs: list[SweepJob]) -> list[Group]:
    """Divide jobs that differ in their fold, too, into those that share a program; others stay together.

    Folds share one if what is fitted on their training examples differs in values only. A fold that cannot be built
    is a group of its own, so that its run says why.
    """
    config = jobs[0].composed.config
    if not varies_fold(jobs[0]) or config["dry_run"] or jobs[0].population:
        return [Group([job]) for job in jobs] if varies_fold(jobs[0]) else [Group(jobs)]
    alike = _read(jobs)
    groups = [Group([job for job in jobs if _fold(job) in each.parts], each.shared, each.parts) for each in alike]
    known = {job.number for group in groups for job in group.jobs}
    groups += [Group([job]) for job in jobs if job.number not in known]
    return sorted(groups, key=lambda group: jobs.index(group.jobs[0]))


def _read(jobs: Sequence[SweepJob]) -> list[Alike]:
    """Read the data, and return the folds that share a program; none if the data cannot be read."""
    first = with_absolute_paths(jobs[0].composed)
    try:
        runtime.start(**first.config["runtime"])
        configs = {_fold(job): with_absolute_paths(job.composed).config for job in reversed(jobs)}
        return read_folds(dict(sorted(configs.items())), first.trust)
    except Exception:  # said by each run, of a user's part, too
        return []


def _fold(job: SweepJob) -> int:
    return job.composed.config["data"]["fold"]
