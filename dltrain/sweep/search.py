"""A search: asks a study for trials, and tells it what came of each; it neither trains nor prints.

`propose` chooses trials in batches of `workers`, each before any of it has a result. So what is chosen depends on
the seed and on results only, never on the order in which runs end, and an interrupted search goes on as it would
have done. `propose_one` chooses a trial for a worker that is idle, with all results that are there by then.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dltrain.sweep.space import Dimension, size
from dltrain.sweep.study import MakeSampler, make_random, quiet, should_prune

ATTEMPTS = 50  # at a trial that was not trained before, until the search ends
BY_SAMPLER = 10  # of these, by the sampler itself; the others choose at random


@dataclass(frozen=True)
class Proposal:
    """A trial that is to be trained as a job."""

    number: int  # of the job
    words: tuple[str, ...]  # the overrides that were chosen
    trial: int  # its number in the study
    id: int  # in the storage
    begun: bool = False  # in an earlier process, which ended before the job


@dataclass(frozen=True)
class Ended:
    """What came of a trial: values, or why there are none."""

    values: tuple[float, ...] = ()
    failed: str = ""
    pruned: str = ""
    violations: Mapping[str, float] = field(
        default_factory=dict
    )  # of constraints; it is feasible if none is above 0


class Search:
    """Proposes trials and remembers their results; may be used from several threads."""

    def __init__(
        self,
        study: Any,
        storage: Any,
        space: Sequence[Dimension],
        *,
        trials: int,
        workers: int,
        make_sampler: MakeSampler,
        seed: int = 0,
        repeat: bool = False,
        version: str = "",
    ) -> None:
        """Go on with what the study holds.

        Args:
            study: of Optuna.
            storage: that of the study.
            space: what is varied.
            trials: how many are trained, those in the study included.
            workers: how many are chosen at a time.
            make_sampler: for each job.
            seed: of what is chosen at random where the sampler finds nothing new.
            repeat: whether to train again what has been trained.
            version: of what trains; a result of another version is not taken over.
        """
        self.study, self.trials, self.workers = study, trials, workers
        self._storage, self._space, self._repeat = storage, tuple(space), repeat
        self._make_sampler, self._seed, self._version = make_sampler, seed, version
        self._distributions = {dimension.key: dimension.distribution() for dimension in space}
        self._lock = threading.RLock()
        self._jobs: dict[int, int] = {}  # number of a job -> that of its trial
        self._known: dict[tuple[str, ...], int] = {}  # words -> number of the first job with them
        self._waiting: dict[int, list[int]] = {}  # number of a job -> trials that take over its result
        self._begun = self._recover()

    @property
    def jobs(self) -> int:
        """How many jobs have been proposed, those of earlier processes included."""
        return len(self._jobs)

    @property
    def begun(self) -> int:
        """How many jobs an earlier process has begun and not ended, until they are proposed."""
        return len(self._begun)

    def propose(self) -> list[Proposal]:
        """Return the next trials to train, none when the search is over."""
        with self._lock, quiet():
            batch, self._begun = self._begun, []
            while self.jobs < self.trials and (not batch or self.jobs % self.workers):
                found = self._ask()
                if found is None:
                    break
                batch.append(found)
            return batch

    def propose_one(self) -> Proposal | None:
        """Return the next trial to train; None when no other is to begin."""
        with self._lock, quiet():
            if self._begun:
                return self._begun.pop(0)
            return self._ask() if self.jobs < self.trials else None

    def tell(self, proposal: Proposal, ended: Ended) -> None:
        """Record what came of a trial, and of those that have the same parameters."""
        with self._lock, quiet():
            self._finish(proposal.trial, ended)
            for trial in self._waiting.pop(proposal.number, []):
                self._finish(trial, ended)

    def should_stop(self, proposal: Proposal, evaluation: int, value: float) -> bool:
        """Record the value of an evaluation (counted from 1), and tell whether the pruner would end the trial."""
        with self._lock, quiet():
            return should_prune(self.study, self._storage, proposal.id, evaluation, value)

    def results(self) -> list[tuple[int, Any]]:
        """Return the number of each job with its trial, in their order."""
        with self._lock:
            found = {trial.number: trial for trial in self.study.get_trials(deepcopy=False)}
            return [(job, found[trial]) for job, trial in sorted(self._jobs.items())]

    def best(self) -> tuple[int, float] | None:
        """Return the feasible job with the best value of the only objective, and that value; None without one."""
        done = [(job, trial.values[0]) for job, trial in self.results() if _is_feasible(trial)]
        sign = -1 if self.study.directions[0].name == "MAXIMIZE" else 1
        return min(done, key=lambda pair: sign * pair[1], default=None)

    def _ask(self) -> Proposal | None:
        """Ask for a trial that was not trained before; None if none is found."""
        number = len(self._jobs)
        for attempt in range(ATTEMPTS):
            if not self._repeat and len(self._known) >= size(self._space):
                return None
            by_sampler = attempt < BY_SAMPLER
            self.study.sampler = (
                self._make_sampler(number, attempt) if by_sampler else make_random(self._seed, number, attempt)
            )
            trial = self.study.ask(self._distributions)
            words = tuple(dimension.word(trial.params[dimension.key]) for dimension in self._space)
            first = self._known.get(words)
            if first is not None and not self._repeat:
                self._take_over(trial.number, first)
                continue
            trial.set_user_attr("words", list(words))
            trial.set_user_attr("version", self._version)
            trial.set_user_attr("job", number)  # the last, since it says that the trial is complete
            self._jobs[number] = trial.number
            self._known.setdefault(words, number)
            return Proposal(number, words, trial.number, trial._trial_id)
        return None

    def _take_over(self, trial: int, job: int) -> None:
        """Give a trial the result of a job with the same parameters, now or when it has ended."""
        found = self.study.get_trials(deepcopy=False)
        self._storage.set_trial_user_attr(found[trial]._trial_id, "duplicate_of", job)
        first = found[self._jobs[job]]
        if first.state.is_finished():
            self._finish(trial, _ended(first))
        else:
            self._waiting.setdefault(job, []).append(trial)

    def _finish(self, trial: int, ended: Ended) -> None:
        from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
        from optuna.trial import TrialState

        own = self.study.get_trials(deepcopy=False)[trial]
        for name, value in ended.violations.items():  # as `Trial.set_constraint` does
            self._storage.set_trial_system_attr(own._trial_id, f"{_CONSTRAINTS_KEY}:{name}", value)
        if reason := ended.failed or ended.pruned:
            self._storage.set_trial_user_attr(own._trial_id, "reason", reason)
            self.study.tell(trial, state=TrialState.FAIL if ended.failed else TrialState.PRUNED)
        else:
            self.study.tell(trial, list(ended.values))

    def _recover(self) -> list[Proposal]:
        """Read the trials of earlier processes; return those that had begun and not ended."""
        begun = []
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if (job := trial.user_attrs.get("job")) is not None:
                words = tuple(trial.user_attrs["words"])
                self._jobs[job] = trial.number
                if trial.user_attrs.get("version", self._version) == self._version:
                    self._known.setdefault(words, job)
                if not trial.state.is_finished():
                    begun.append(Proposal(job, words, trial.number, trial._trial_id, begun=True))
        with quiet():
            for trial in trials:
                if trial.state.is_finished() or trial.user_attrs.get("job") is not None:
                    continue
                first = trial.user_attrs.get("duplicate_of")
                if first is None:
                    self._finish(trial.number, Ended(failed="the process ended before the trial was complete"))
                else:
                    self._take_over(trial.number, first)
        return sorted(begun, key=lambda proposal: proposal.number)


def _ended(trial: Any) -> Ended:
    """Read the result of a trial that has ended."""
    reason = trial.user_attrs.get("reason", "")
    if trial.state.name == "PRUNED":
        return Ended(pruned=reason, violations=trial.constraints)
    return Ended(tuple(trial.values or ()), failed=reason, violations=trial.constraints)


def _is_feasible(trial: Any) -> bool:
    """Tell whether a trial has a result that violates no constraint."""
    return trial.state.name == "COMPLETE" and all(value <= 0 for value in trial.constraints.values())
