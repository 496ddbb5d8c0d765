"""The Optuna study behind a search: its storage, samplers and pruners. Optuna is imported when a search begins."""

import contextlib
import importlib.util
import json
import math
import os
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.config.places import ADDRESS
from dltrain.errors import ConfigError
from dltrain.sweep.pbt import check_population
from dltrain.sweep.space import Dimension

JOURNAL = "study.journal"  # in the folder of a search
NEEDS = {
    "cmaes": (("cmaes", "pip install 'dltrain[sweep]'"),),
    "gp": (("torch", "pip install torch"), ("scipy", "pip install scipy")),
}
"""Sampler -> the packages that Optuna needs for it, and how to install them."""

MakeSampler = Callable[[int, int], Any]
"""(number of the job, attempts at a new one before) -> the sampler that chooses it."""


def check_settings(settings: Mapping[str, Any], space: Sequence[Dimension]) -> None:
    """Raise ConfigError unless the node `sweep` of a config suits what is searched, and the packages are there."""
    name, pruner, url = settings["sampler"], settings["pruner"], settings["storage"]
    if name == "pbt":
        return check_population(settings, space)
    objectives = len(settings["objectives"])
    for module, install in (("optuna", "pip install 'dltrain[sweep]'"), *NEEDS.get(name, ())):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"sweep.sampler={name}: needs the package {module}: {install}")
    if not space:
        raise ConfigError(
            f"sweep.sampler={name}: nothing to search; give a key several values (model=mlp,linear) or a range: "
            "'optim.learning_rate=interval(1e-5,1e-1)'"
        )
    if url is not None and not ADDRESS.match(url):
        raise ConfigError(f"sweep.storage={url}: must be a URL, such as sqlite:///study.db")
    if name == "cmaes" and sum(dimension.is_numeric for dimension in space) < 2:
        raise ConfigError("sweep.sampler=cmaes: needs ranges of two or more numbers; choose sweep=tpe")
    if name == "cmaes" and objectives > 1:
        raise ConfigError(
            "sweep.sampler=cmaes: has one objective only; choose sweep=tpe, or one of sweep.objectives"
        )
    if pruner != "none" and objectives > 1:
        raise ConfigError(f"sweep.pruner={pruner}: has one objective only; set sweep.pruner=none, or one objective")


def open_study(
    url: str | None, folder: Path, *, name: str, directions: Sequence[str], pruner: str
) -> tuple[Any, Any]:
    """Open a study, or begin one of this name; return it with its storage.

    Args:
        url: of the storage; None: a file in `folder`, which the caller has locked.
        folder: of the search.
        name: of the study in its storage.
        directions: minimize or maximize, for each objective.
        pruner: a choice of sweep.pruner.

    Raises:
        ConfigError: the storage cannot be opened.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with quiet():
            if url is None:
                mend_journal(folder / JOURNAL)
            storage = _journal(folder / JOURNAL) if url is None else optuna.storages.get_storage(url)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=list(directions),
                load_if_exists=True,
                pruner=_make_pruner(pruner),
            )
    except Exception as error:  # of Optuna, SQLAlchemy or a database driver
        raise _unopened(url, folder, error) from error
    return study, storage


def join_study(url: str | None, folder: Path, *, name: str, pruner: str) -> tuple[Any, Any]:
    """Open the study of a search that another process runs, to report to it; return it with its storage.

    Raises:
        ConfigError: the storage cannot be opened from here.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with quiet():
            storage = _journal(folder / JOURNAL) if url is None else optuna.storages.get_storage(url)
            return optuna.load_study(study_name=name, storage=storage, pruner=_make_pruner(pruner)), storage
    except Exception as error:  # of Optuna, SQLAlchemy or a database driver
        raise _unopened(url, folder, error) from error


def _unopened(url: str | None, folder: Path, error: Exception) -> ConfigError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(f"sweep.storage={url or folder / JOURNAL}: cannot be opened: {reason}")


def should_prune(study: Any, storage: Any, trial: int, evaluation: int, value: float) -> bool:
    """Record the value of an evaluation (counted from 1), and tell whether the pruner would end the trial.

    `trial` is its id in the storage. A value that is not finite is not recorded.
    """
    if not math.isfinite(value):
        return False
    if evaluation not in storage.get_trial(trial).intermediate_values:
        storage.set_trial_intermediate_value(trial, evaluation, value)
    return bool(study.pruner.prune(study, storage.get_trial(trial)))


def make_samplers(name: str, seed: int) -> MakeSampler:
    """Return what makes the sampler of each job.

    Each job has a seed of its own. So a search that was interrupted goes on as if it had not been.
    """
    import optuna

    samplers = optuna.samplers
    seldom_warning = {"warn_independent_sampling": False}

    def make(job: int, attempt: int) -> Any:
        own = int(np.random.SeedSequence([seed, job, attempt]).generate_state(1)[0])
        if name == "tpe":
            return samplers.TPESampler(seed=own)
        if name == "gp":
            return samplers.GPSampler(seed=own, **seldom_warning)
        if name == "cmaes":
            return samplers.CmaEsSampler(seed=own, **seldom_warning)
        if name == "qmc":  # one sequence, in which each trial takes the next place
            return samplers.QMCSampler(
                scramble=True, seed=seed, independent_sampler=samplers.RandomSampler(own), **seldom_warning
            )
        return samplers.RandomSampler(own)

    return make


def make_random(seed: int, job: int, attempt: int) -> Any:
    """Return a sampler that chooses at random, for a job for which another one finds nothing new."""
    return make_samplers("random", seed)(job, attempt)


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Keep Optuna's warnings about its own interface from users, who do not call it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def mend_journal(path: Path) -> None:
    """Remove what killed processes left: parts of lines, and a lock. Nobody else may be using the journal."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        content = file.read()
        kept = b"".join(line for line in content.splitlines(keepends=True) if _is_entry(line))
        if kept != content:
            file.seek(0)
            file.write(kept)
            file.truncate()
            os.fsync(file.fileno())


def _is_entry(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:  # another process has written on after the part of a line
        return False


def _journal(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    return JournalStorage(
        JournalFileBackend(str(path), JournalFileOpenLock(str(path)))
    )  # its default lock is a link


def _make_pruner(name: str) -> Any:
    """Return a pruner; its resource is the number of evaluations, counted from 1."""
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner()
    if name == "hyperband":
        return pruners.HyperbandPruner()
    if name == "wilcoxon":
        return pruners.WilcoxonPruner()
    if name == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=1)
    return pruners.NopPruner()
