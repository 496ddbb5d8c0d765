"""A sweep from the command line: its checks, its folder, and the table at its end."""

import functools
import importlib
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.cli.job import compose_jobs, train_composed
from dltrain.cli.launched import divide, launch_jobs, relaunch, run_job, words_for_launcher
from dltrain.cli.sweep_words import Found, Typed, read_sweep
from dltrain.composition import objective
from dltrain.composition.launch import Job, Objectives, SweepStopped, expand, launch
from dltrain.composition.overrides import NEEDS_SAMPLER
from dltrain.composition.settings import (
    Settings,
    hydra_words,
    logging_words,
    recipe_settings,
)
from dltrain.config.folders import Tree
from dltrain.config.request import Override
from dltrain.errors import ConfigError, LockedError
from dltrain.plots import artist
from dltrain.runs.repeat import Repeat, read_repeat
from dltrain.runs.sweep_files import STOPPED
from dltrain.sweep.earlier import write_earlier
from dltrain.sweep.folder import locked, remove_empty
from dltrain.sweep.plan import forget_plan, write_configs, write_places
from dltrain.sweep.unfinished import read_notes, what_is_left, write_plan


def sweep(words: Sequence[str], folders: tuple[Path, ...], tree: Tree, *, repeat: Repeat | None = None) -> int:
    """Run every combination; the exit code is that of the first job that failed.

    With `repeat` its words are added, and what comes of the runs is said by `conclude_repeat`.
    """
    typed = read_sweep([*words, *(repeat.words() if repeat else ())], folders, tree)
    if typed.sampler == "pbt":
        return _train_population(typed)
    if typed.sampler != "grid":
        return _search(typed)
    return _run_grid(typed, repeat)


def _run_grid(typed: Typed, repeat: Repeat | None) -> int:
    """Run every combination of the values."""
    settings, launcher = typed.settings, typed.settings.chosen["hydra/launcher"]
    passed, keys = _words_for_hydra(typed), tuple(o.key for o in typed.fixed)
    folder = typed.claim()
    if settings.chosen["hydra/sweeper"] == "basic":
        write_plan(folder, list(typed.found.values()))
    if repeat:
        repeat.write(folder)
    if not typed.config["dry_run"]:
        write_earlier(folder, typed.config["sweep"])
    processes = 0
    if launcher != "basic":
        jobs = math.prod(len(values or [o]) for o, values in typed.found.values())
        word, processes = divide(settings, typed.config, jobs=jobs)
        passed, keys = ([*passed, word], (*keys, "runtime.threads")) if word else (passed, keys)
    train = functools.partial(run_job, tuple(typed.config["sweep"]["objectives"]), keys, processes)
    if settings.chosen["hydra/sweeper"] != "basic":  # it decides on a job when others have ended
        return run_in(folder, lambda: launch(passed, folder, typed.folders, train=train))

    def begin() -> None:
        composed = compose_jobs(_jobs_of(typed, passed, folder), keys)
        if not composed:
            return
        write_configs(folder, composed)
        if launcher == "basic":
            return train_composed(composed)
        write_places(folder, 1, {job.number: 0 for job in composed})
        if launcher == "joblib" and processes:  # they share GPUs: first it is measured how many fit
            given = _words_for_launcher(typed)
            relaunch(composed, folder, typed.folders, settings=settings, given=given, words=typed.trust)
        else:
            launch_jobs(passed, folder, typed.folders, launcher=launcher, train=train)

    return run_in(folder, begin, trust=typed.trust)


def _words_for_hydra(typed: Typed) -> list[str]:
    """Check what only a grid has to, and return the words for Hydra."""
    found, settings = typed.found, typed.settings
    _check_intervals(found, settings)
    recipe = next((recipe_settings(o.value, typed.tree) for o in typed.fixed if o.key == "experiment"), {})
    passed = [*_passed(found, typed.config, typed.tree), *hydra_words(typed.hydra)]
    passed += [*logging_words(settings, typed.hydra), *_directions(typed.config, settings, typed.hydra, recipe)]
    passed += ["++hydra.sweeper.params=null"] if typed.params else []  # these words include them
    if typed.place is not None and settings.sweep_dir:
        raise ConfigError(
            f"output_dir={typed.place} hydra.sweep.dir={settings.sweep_dir}: both name the folder; set only one"
        )
    return passed


def _jobs_of(typed: Typed, passed: Sequence[str], folder: Path) -> list[Job]:
    """Return the jobs that Hydra would start with these words; by Hydra itself, where its settings could matter."""
    same = not any(key in typed.tree and values is not None for key, (_, values) in typed.found.items())
    if same and typed.settings.plain and not typed.hydra and not typed.params:
        return expand(passed, folder, typed.folders)
    jobs: list[Job] = []
    here = [word for word in passed if not word.lstrip("+").startswith(("hydra/launcher=", "hydra.launcher."))]
    here += ["hydra/launcher=basic"] if typed.settings.chosen["hydra/launcher"] != "basic" else []
    launch(here, folder, typed.folders, train=lambda job: _collect(jobs, job))
    return jobs


def _train_population(typed: Typed) -> int:
    """Train jobs that copy one another, instead of those of Hydra's sweeper."""
    _refuse_plugins(typed, "sweeper", "launcher")
    population = importlib.import_module("dltrain.cli.population")
    plan = population.plan(typed.found, typed.config, typed.folders, typed.tree)
    folder = typed.claim()
    return run_in(folder, lambda: population.train(plan, folder, seed=typed.config["seed"]), trust=typed.trust)


def _words_for_launcher(typed: Typed) -> list[str]:
    experiments = [o for o in typed.fixed if o.key == "experiment"]
    return words_for_launcher(typed.settings, typed.hydra, experiments, params=bool(typed.params))


def _refuse_plugins(typed: Typed, *names: str) -> None:
    """Raise ConfigError if a plugin of Hydra is chosen where it cannot be used."""
    instead = {
        "sweeper": "the trials are chosen by sweep; leave out hydra/sweeper",
        "launcher": "its members exchange weights in one process; leave out the launcher, or choose sweep=tpe",
    }
    for name in names:
        if (chosen := typed.settings.chosen[f"hydra/{name}"]) != "basic":
            raise ConfigError(f"hydra/{name}={chosen} sweep.sampler={typed.sampler}: {instead[name]}")


def _search(typed: Typed) -> int:
    """Let Optuna choose the trials, instead of Hydra's sweeper."""
    _refuse_plugins(typed, "sweeper")
    launcher, processes = typed.settings.chosen["hydra/launcher"], typed.config["sweep"]["processes"]
    if launcher != "basic" and processes:
        raise ConfigError(
            f"hydra/launcher={launcher} sweep.processes={processes}: both start processes; set only one "
            "(with sweep.processes no process waits for the others)"
        )
    batches = None
    if launcher != "basic":
        make = importlib.import_module("dltrain.cli.search_batches").Batches
        batches = make(typed.settings, typed.config, tuple(_words_for_launcher(typed)), tuple(typed.hydra))
    search = importlib.import_module("dltrain.cli.search").search
    return search(
        typed.found,
        typed.config,
        typed.folders,
        typed.tree,
        place=typed.where,
        claim=typed.claim,
        overwrite=typed.overwrite,
        batches=batches,
    )


def _collect(jobs: list[Job], job: Job) -> Objectives:
    """Take a job that is trained later, together with others."""
    jobs.append(job)
    return math.nan


def run_in(folder: Path, work: Callable[[], None], *, trust: Sequence[str] = ()) -> int:
    """Do the work of a sweep, and print what came of it; `trust` are the words that name packages of the user."""
    with locked(folder), artist.leaving():
        return _work_and_conclude(folder, work, trust)


def _work_and_conclude(folder: Path, work: Callable[[], None], trust: Sequence[str]) -> int:
    code, reason = 0, ""
    try:
        work()
    except SweepStopped as ended:
        code, reason = ended.code, ended.reason
    except KeyboardInterrupt:  # between two jobs
        code = 130
    except LockedError:
        raise
    except Exception:
        notes = read_notes(folder)
        if not any(note["code"] and note["ended"] for note in notes):  # else a sweeper has raised its own error
            if not notes:
                remove_empty(folder, [])
            raise
    jobs = read_notes(folder)
    left = what_is_left(folder) if code else []
    if jobs and all(job.get("dry") for job in jobs):
        remove_empty(folder, [Path(job["folder"]) for job in jobs])
        good = sum(not job["code"] for job in jobs)
        print(f"dry run: {good} of {len(jobs)} jobs can be trained; nothing was trained or written")
        return code or next((job["code"] for job in jobs if job["code"]), 0)
    stopped = {Path(job["folder"]) for job in jobs if job["code"] in STOPPED or not job["ended"]}
    paths = [Path(job["folder"]) for job in jobs]
    if read_repeat(folder) and not left:
        importlib.import_module("dltrain.sweep.repeat").conclude_repeat(folder, paths, trust)
    else:
        importlib.import_module("dltrain.report.sweep").summarise(folder, paths, interrupted=stopped)
    if not left:
        forget_plan(folder)
    again = [f"run what is missing with: {shlex.join(['dltrain', '-m', '--resume', str(folder)])}"] if left else []
    for line in (*([reason] if reason else []), *left, *again):
        print(f"dltrain: {line}", file=sys.stderr)
    return code or next((job["code"] for job in jobs if job["code"]), 0)


def _check_intervals(found: Found, settings: Settings) -> None:
    interval = next((o for o, values in found.values() if values == []), None)
    if interval and settings.chosen["hydra/sweeper"] == "basic":
        raise ConfigError(f"{interval.word}: a range to sample from; {NEEDS_SAMPLER}")


def _passed(found: Found, config: Mapping[str, Any], tree: Tree) -> list[str]:
    """Format the overrides for Hydra's sweeper: without ++ if every combination has the key.

    Folders (hydra.job.override_dirname) and a sampler's parameters are named after these words.
    """
    words = []
    for o, _ in found.values():
        node: Any = config
        for part in o.key.split("."):
            node = node.get(part, ...) if isinstance(node, Mapping) else ...
        group = o.key.split(".")[0]
        varied = group in tree and group in found and found[group][1] is not None
        if o.key in tree and o.value is None and found[o.key][1] is None:
            continue  # experiment=null
        plain = o.key in tree or (node is not ... and not varied)
        words.append(o.typed if plain and not o.removes else o.for_hydra)
    return words


def _directions(
    config: Mapping[str, Any], settings: Settings, typed: Sequence[Override], recipe: Mapping[str, Any]
) -> list[str]:
    """Set the sweeper's direction to what is better, unless the user has set it."""
    name, sweeper = settings.chosen["hydra/sweeper"], settings.sweeper
    if name == "basic":
        return []
    if any(o.key == "hydra.sweeper.direction" for o in typed) or "direction" in recipe.get("sweeper", {}):
        objective.check_count(sweeper.get("direction"), config["sweep"]["objectives"])
        return []
    found = objective.directions(config)
    if "direction" not in sweeper:
        print(
            f"dltrain: hydra/sweeper={name}: set its direction to {' and '.join(found)}; "
            "dltrain sets it for optuna only",
            file=sys.stderr,
        )
        return []
    return [f"++hydra.sweeper.direction={found[0] if len(found) == 1 else '[' + ','.join(found) + ']'}"]
