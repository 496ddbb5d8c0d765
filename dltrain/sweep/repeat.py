"""Runs that repeat one training, over folds or over seeds: which they are, and what is said at their end."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.build.parts import assemble
from dltrain.callbacks.signals import Signals
from dltrain.composition.compose import amend_words, compose_words
from dltrain.config.call import Composed
from dltrain.devices import runtime
from dltrain.errors import ConfigError, DltrainError, Interrupted, Terminated
from dltrain.inference.run import amend_saved
from dltrain.plots import artist
from dltrain.report.console import Screen, print_warning
from dltrain.report.repeats.conclude import conclude
from dltrain.report.repeats.results import Repeated
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder
from dltrain.runs.repeat import CROSSVAL, SEEDS, Repeat, read_repeat
from dltrain.runs.sweep_files import LIST
from dltrain.sweep.earlier import check_known, write_earlier
from dltrain.sweep.folder import claim, locked
from dltrain.sweep.groups import SweepJob
from dltrain.sweep.plan import forget_plan, write_configs
from dltrain.sweep.train import train_jobs
from dltrain.training import EndedRun

LARGEST = 2**32 - 1  # a seed


def folds_of(words: Sequence[str], composed: Composed, *, folds: int) -> Repeat:
    """Return the runs of a cross-validation with this training config.

    Args:
        words: the typed keys of training.
        composed: what they compose.
        folds: how many.

    Raises:
        ConfigError: a typed key is one that the command sets, or chooses the trials of a search.
        DataError: the data cannot be read, or not be cut into so many folds.
    """
    config = composed.config
    _check_count(CROSSVAL, "folds", folds)
    keys = {word.partition("=")[0].lstrip("+~") for word in words}
    if given := next((key for key in ("data.folds", "data.fold") if key in keys), None):
        raise ConfigError(f"{given}: dltrain {CROSSVAL} trains every fold; set their number: folds={folds}")
    _check_single(CROSSVAL, config, f"data.folds={folds} data.fold={','.join(map(str, range(folds)))}")
    _try({**config, "data": {**config["data"], "folds": folds}}, composed.trust)
    return Repeat(CROSSVAL, tuple(range(folds)))


def seeds_of(composed: Composed, *, count: int) -> Repeat:
    """Return `count` runs of a training config, with its seed and those that follow.

    Raises:
        ConfigError: there are not so many seeds, or the config chooses the trials of a search.
        DataError: the data cannot be read.
    """
    config = composed.config
    _check_count(SEEDS, "count", count)
    first = config["seed"]
    if first + count - 1 > LARGEST:
        raise ConfigError(
            f"seed={first}: the last of {count} seeds would be above {LARGEST}; begin with a smaller one"
        )
    seeds = tuple(range(first, first + count))
    _check_single(SEEDS, config, f"seed={','.join(map(str, seeds[:3]))},...")
    _try(config, composed.trust)
    return Repeat(SEEDS, seeds)


def _try(config: Mapping[str, Any], trust: tuple[str, ...]) -> None:
    """Build the parts of the first run, so that what keeps all of them from training is said once."""
    runtime.start(**config["runtime"])
    assemble(config, trust)


def _check_count(command: str, option: str, count: int) -> None:
    if count < 2:
        raise ConfigError(f"{option}={count}: dltrain {command} needs at least 2, to measure a spread")


def _check_single(command: str, config: Mapping[str, Any], words: str) -> None:
    if (sampler := config["sweep"]["sampler"]) != "grid":
        raise ConfigError(
            f"sweep={sampler}: dltrain {command} repeats one config; search first, then repeat the best one. A "
            f"sweep over repeats is dltrain -m {words}"
        )


def train_repeat(repeat: Repeat, words: Sequence[str], *, config_dir: str | None = None) -> Repeated:
    """Train all runs in this process, print and write what came of them, and return it.

    `dltrain -m --resume FOLDER` goes on after an interruption.

    Args:
        repeat: what differs between the runs.
        words: the overrides of all of them.
        config_dir: your own folder of YAML.

    Raises:
        DltrainError: all runs failed; this is the reason of the first.
    """
    shared = compose_words(*words, config_dir=config_dir).config
    if shared["dry_run"]:
        raise ConfigError("dry_run=true: nothing would be trained; use compose to check a config")
    check_known(shared["sweep"]["known"])
    folder = claim(shared["output_dir"], overwrite=shared["overwrite"])
    repeat.write(folder)
    own = [word for word in words if word.partition("=")[0] != "output_dir"]
    jobs = [_job(repeat, own, folder, i, config_dir) for i in range(len(repeat.values))]
    write_configs(folder, jobs)
    write_earlier(folder, shared["sweep"])
    failures: list[DltrainError] = []
    with locked(folder), artist.leaving():
        train_jobs(jobs, _guard(failures), Signals())
        if len(failures) == len(jobs):
            forget_plan(folder)
            raise failures[0]
        trust = [word for word in words if word.startswith("trust=")]
        found = conclude_repeat(folder, [job.folder for job in jobs], trust, screen=Screen(quiet=shared["quiet"]))
        forget_plan(folder)
        return found


def _job(repeat: Repeat, words: Sequence[str], folder: Path, i: int, config_dir: str | None) -> SweepJob:
    """Compose the i-th run, and make its folder."""
    label = f"{repeat.key}={repeat.values[i]}"
    folds = [word for word in repeat.words() if not word.startswith(f"{repeat.key}=")]
    mine = (*(word for word in words if word.partition("=")[0] != repeat.key), *folds, label)
    place = folder / str(i)
    place.mkdir()
    with Files(folder).append(LIST) as listed:
        listed.write(f"{os.path.relpath(place, folder)}\n")
    return SweepJob(i, mine, place, label, compose_words(*mine, config_dir=config_dir), folder)


def _guard(failures: list[DltrainError]) -> Callable[[SweepJob, Callable[[], EndedRun | None]], EndedRun | None]:
    """Return what trains a run; a failure is noted in its folder, and ends no other run."""

    def guard(job: SweepJob, train: Callable[[], EndedRun | None]) -> EndedRun | None:
        try:
            return train()
        except (Interrupted, Terminated):
            raise
        except DltrainError as error:
            failures.append(error)
            print_warning(f"{job.label}: {error}")
            run = RunFolder(job.folder)
            if not run.config.exists():
                run.files.replace_text(run.failure.name, f"{(str(error).splitlines() or [''])[0]}\n")
            return None

    return guard


def conclude_repeat(
    folder: Path, paths: Sequence[Path], trust: Sequence[str] = (), *, screen: Screen | None = None
) -> Repeated:
    """Print and write what came of runs that repeat one training.

    Args:
        folder: of the sweep, with the file that says what is repeated.
        paths: the folders of the runs, in the order of their values.
        trust: words `trust=[package]` of this process's own user.
        screen: where it is printed; None: standard output.

    Raises:
        ConfigError: the folder is that of another sweep.
    """
    repeat = read_repeat(folder)
    if repeat is None:
        raise ConfigError(f"{folder}: is not the folder of dltrain {CROSSVAL} or dltrain {SEEDS}")

    def amend(run: RunFolder) -> Composed:
        return amend_saved(run, lambda saved: amend_words(saved, *trust), trust)

    return conclude(repeat, folder, paths, amend, screen=screen)
