"""The results of runs that repeat one training: metrics of each, their means and intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dltrain.errors import DltrainError
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.ensemble.make import OUT_OF_FOLD, Made
from dltrain.inference.student import quantile
from dltrain.report.seeds import Spread, corrected_spread, spread
from dltrain.report.sweeps.jobs import Job, read_job
from dltrain.runs.repeat import CROSSVAL, Repeat
from dltrain.runs.sealed import read_sealed

SPLITS = ("validation", "test")

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Split -> metric -> fold or seed -> value at the best state."""


@dataclass(frozen=True)
class Repeated:
    """Runs that differ in one number only.

    Attributes:
        repeat: what differs.
        folder: of the sweep.
        jobs: the runs that have results, by fold or seed.
        missing: the others, with the reason.
        values: their finite metrics.
        examples: number of examples in each split of each run.
        made: the ensemble of all runs, if there is one.
    """

    repeat: Repeat
    folder: Path
    jobs: Mapping[int, Job]
    missing: Mapping[int, str]
    values: Values
    examples: Mapping[int, Mapping[str, int]]
    made: Made | None = None

    @property
    def monitor(self) -> str:
        """The monitored metric as split/name; "" without one."""
        return next((job.monitor for job in self.jobs.values() if job.monitor), "")

    @property
    def metric(self) -> str:
        """The metric that is drawn: the monitored one, else the first."""
        known = [name for split in SPLITS for name in self.values.get(split, {})]
        return self.monitor.partition("/")[2] or next(iter(known), "")

    @property
    def ensemble(self) -> Ensemble | None:
        """All runs together, ready to predict; None if a fold is missing, or the models cannot be averaged."""
        return self.made.ensemble if self.made else None

    @property
    def ratio(self) -> float:
        """Validation examples per training example, as a mean over the folds."""
        found = [counts["validation"] / counts["train"] for counts in self.examples.values() if counts.get("train")]
        return sum(found) / len(found) if found else math.nan

    def spread(self, split: str, metric: str) -> Spread:
        """Return mean, standard deviation and interval of a metric.

        Folds have no interval on the test split: they are measured on the same examples, so their spread says
        nothing about other ones.
        """
        values = list(self.values[split][metric].values())
        if self.repeat.command != CROSSVAL:
            return spread(values)
        if split == "validation":
            return corrected_spread(values, ratio=self.ratio)
        return replace(spread(values), interval=None)

    def together(self, split: str) -> Mapping[str, float]:
        """Return the metrics of all runs together: of the ensemble, or of the out-of-fold predictions."""
        return self._measured(split).ensemble if self._measured(split) else {}

    def calibrated(self, split: str) -> Mapping[str, float]:
        """Return the same metrics with the temperature; empty without one."""
        return self._measured(split).calibrated if self._measured(split) else {}

    def _measured(self, split: str) -> Any:
        wanted = OUT_OF_FOLD if split == "validation" and self.repeat.command == CROSSVAL else split
        return next((one for one in self.made.measured if one.split == wanted), None) if self.made else None

    def explanation(self) -> str:
        """Say what the interval is, and what it is not; "" of fewer than two runs."""
        count = len(self.jobs)
        if count < 2:
            return ""
        t = f"mean ± {quantile(count - 1):.3f} · std ·"
        if self.repeat.command != CROSSVAL:
            return (
                f"95 % interval of the mean over seeds: {t} √(1/{count}), by Student's t. It says how exactly the "
                "mean is known on these examples, not how much other examples would change it."
            )
        return (
            f"95 % interval of the mean: {t} √(1/{count} + {self.ratio:.3g}), corrected by Nadeau and Bengio "
            f"(2003), since folds share training examples, so that std · √(1/{count}) would be too narrow. It is "
            f"approximate: {count} correlated values, whose distribution is not known."
        )

    def with_ensemble(self, made: Made) -> "Repeated":
        """Return the same with the ensemble, and with metrics that only it has measured of each run."""
        numbers = {job.folder.resolve(): value for value, job in self.jobs.items()}
        owners = [numbers[run.path.resolve()] for run in made.ensemble.runs]
        values = {split: {name: dict(each) for name, each in of.items()} for split, of in self.values.items()}
        for one in made.measured:
            for owner, metrics in zip(owners, one.members, strict=False):
                for name, value in metrics.items():
                    if math.isfinite(value):
                        values.setdefault(one.split, {}).setdefault(name, {}).setdefault(owner, value)
        return replace(self, made=made, values=values)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        made = self.made
        return {
            "monitor": self.monitor,
            "runs": [
                {self.repeat.noun: number, "folder": job.name, "examples": self.examples[number]}
                | {split: {n: of.get(number) for n, of in self.values.get(split, {}).items()} for split in SPLITS}
                for number, job in self.jobs.items()
            ],
            "missing": {str(number): reason for number, reason in self.missing.items()},
            "interval": self.explanation(),
            **{split: self._split_json(split) for split in SPLITS if split in self.values},
            "out_of_fold" if self.repeat.command == CROSSVAL else "ensemble_validation": self.together(
                "validation"
            ),
            "ensemble_test": self.together("test"),
            "calibrated_test": self.calibrated("test"),
            "temperature": made.ensemble.temperature if made else None,
        }

    def _split_json(self, split: str) -> dict[str, Any]:
        return {name: vars(self.spread(split, name)) for name in self.values[split]}


def read_repeated(repeat: Repeat, folder: Path, paths: Sequence[Path]) -> Repeated:
    """Read the runs of a sweep, which are in the order of the values."""
    jobs, missing, examples = {}, {}, {}
    for number, path in zip(repeat.values, paths, strict=False):
        job = read_job(path, str(path.relative_to(folder)))
        if not job.summary:
            missing[number] = job.reason
            continue
        jobs[number], examples[number] = job, _examples(path)
    for number in repeat.values[len(paths) :]:
        missing[number] = "it was not trained"
    values: dict[str, dict[str, dict[int, float]]] = {}
    for number, job in jobs.items():
        best = job.summary.get("best", {})
        for split in SPLITS:
            for name, value in best.get(split, {}).items():
                if isinstance(value, int | float) and math.isfinite(value):
                    values.setdefault(split, {}).setdefault(name, {})[number] = float(value)
    return Repeated(repeat, folder, jobs, missing, values, examples)


def _examples(path: Path) -> Mapping[str, int]:
    try:
        found = read_sealed(path / "data.json").get("examples")
    except DltrainError:  # it is reported when the ensemble is made
        return {}
    return found if isinstance(found, Mapping) else {}
