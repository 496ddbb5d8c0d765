"""Jobs of a sweep whose result is known: an earlier run had the same config, data and versions, so it is copied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltrain.build.data import describe_data, is_stateful
from dltrain.build.identity import config_digest, digest_of, is_same_code, of_process
from dltrain.build.parts import read_of
from dltrain.config.call import Composed
from dltrain.config.changes import swept_words
from dltrain.config.paths import with_absolute_paths
from dltrain.devices import runtime
from dltrain.errors import DltrainError
from dltrain.report.console import print_warning
from dltrain.report.describe import hparams
from dltrain.report.finish import Finished
from dltrain.runs import checkpoint
from dltrain.runs.copied import copy_run, find_problem
from dltrain.runs.folder import RunFolder, claim
from dltrain.sweep.earlier import read_earlier
from dltrain.sweep.groups import SweepJob
from dltrain.training import EndedRun

OF_DATA = ("data", "task", "batch_size", "limit_batches", "overfit_batches")
"""Keys on which the examples of a run depend, and how they are split; and `model.stateful`."""


@dataclass
class Known:
    """Finds the runs of earlier sweeps, and takes them; it remembers the data that it has read."""

    data: dict[str, str] = field(default_factory=dict)  # digest of the keys of data -> that of what was read

    def find(self, jobs: Sequence[SweepJob]) -> dict[int, RunFolder]:
        """Return the earlier run of each job that has one, by the number of the job.

        A job that goes on has begun to train, and one of a population depends on others: neither has one.
        """
        earlier = read_earlier(jobs[0].sweep) if jobs else {}
        found = {}
        for job in jobs if earlier else ():
            if not (job.resumes or job.population or job.composed.config["dry_run"]):
                composed = with_absolute_paths(job.composed)
                places = earlier.get(config_digest(composed.text) or "", ())
                if run := self._same(composed, [Path(place) for place in places]):
                    found[job.number] = run
        return found

    def _same(self, composed: Composed, places: Sequence[Path]) -> RunFolder | None:
        """Return the first run in these folders, all of this config, that would be trained again."""
        if not places:
            return None
        runtime.start(**composed.config["runtime"])
        for run in map(RunFolder, places):
            try:
                if self._is_same(run, run.read_summary(), composed):
                    return run
            except (OSError, LookupError, TypeError, ValueError, DltrainError) as error:
                print_warning(f"note: {run.path}: is not used, and trained again: {error}")
        return None

    def _is_same(self, run: RunFolder, summary: Mapping[str, Any], composed: Composed) -> bool:
        identity = summary.get("identity") or {}
        if not of_process().items() <= identity.items() or identity.get("data") != self._data(composed):
            return False
        if problem := find_problem(run, summary):
            print_warning(f"note: {run.path}: is not used, and trained again: {problem}")
            return False
        about = checkpoint.read_about(run.checkpoints / checkpoint.name_of(summary["steps"]))
        return about.get("identity") == identity and is_same_code(about.get("code", {}), composed.trust)

    def _data(self, composed: Composed) -> str:
        """Return the digest of the data; "" if it cannot be read, which the training says."""
        config = composed.config
        key = digest_of({**{name: config[name] for name in OF_DATA}, "stateful": is_stateful(config)})
        if key not in self.data:
            try:
                read, _ = read_of(config, composed.trust)
                self.data[key] = digest_of(describe_data(read.source, read.splits, read.description))
            except Exception:  # also of the user's code
                return ""
        return self.data[key]


def take(job: SweepJob, run: RunFolder) -> EndedRun | None:
    """Copy an earlier run into the folder of a job; None if that fails, which a warning says."""
    composed = with_absolute_paths(job.composed)
    config, choices = composed.config, dict(composed.choices)
    try:
        folder = claim(job.folder, name="", overwrite=config["overwrite"], trust=composed.trust)
    except DltrainError:  # so it is with training, which says it
        return None
    folder.label = job.label
    shown = hparams(config, choices, swept_words(job.words, job.label))
    started: dict[str, Any] = {"overrides": list(job.words), "choices": choices}
    try:
        with folder.kept_log():
            copy_run(run, folder, config=composed.text, hparams=shown, **started, label=job.label)
            return EndedRun(folder, Finished(folder.read_summary(), lambda: None))
    except (OSError, KeyError, ValueError, DltrainError) as error:
        print_warning(f"warning: job {job.number} is trained, since {run.path} cannot be copied: {error}")
        _clear(folder)
        return None


def _clear(folder: RunFolder) -> None:
    folder.lock()
    try:
        folder.clear()
    finally:
        folder.release()
