"""A sweep from the command line: its checks, its folder, and the table at its end."""

import functools
import importlib
import math
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.cli.job import compose_jobs, train_composed
from dltrain.cli.launched import divide, launch_jobs, run_job
from dltrain.composition import objective
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.launch import Job, Objectives, SweepStopped, expand, launch
from dltrain.composition.overrides import NEEDS_SAMPLER, read
from dltrain.composition.settings import (
    Settings,
    compose_whole,
    hydra_words,
    logging_words,
    read_hydra,
    read_settings,
    recipe_settings,
    trusted,
)
from dltrain.config.compose import check_sweep
from dltrain.config.folders import Tree
from dltrain.config.hydra_node import is_hydra
from dltrain.config.request import Override
from dltrain.errors import ConfigError, LockedError
from dltrain.runs.repeat import Repeat, read_repeat
from dltrain.runs.sweep_files import JOBS, STOPPED
from dltrain.sweep.folder import claim, locked, remove_empty
from dltrain.sweep.plan import write_configs, write_places
from dltrain.sweep.unfinished import read_notes, what_is_left, write_plan

Found = dict[str, tuple[Override, list[Override] | None]]
"""Key -> the override, and its values if there are several."""


def sweep(words: Sequence[str], folders: tuple[Path, ...], tree: Tree, *, repeat: Repeat | None = None) -> int:
    """Run every combination; the exit code is that of the first job that failed.

    With `repeat` its words are added, and what comes of the runs is said by `conclude_repeat`.
    """
    words = [*words, *(repeat.words() if repeat else ())]
    own = [w for w in words if not is_hydra(w.lstrip("+~").partition("=")[0])]
    typed = read_hydra([w for w in words if w not in own], tree, trusted(own, tree))
    found: Found = {o.key: (o, values) for o, values in (read(w, tree) for w in own)}
    place, config = _place(found, folders, tree)
    fixed = [o for o, values in found.values() if values is None]
    first = [o if values is None else values[0] for o, values in found.values() if values is None or values]
    groups = [o.word for o in first if o.key in tree]
    whole = compose_whole(
        [*groups, *(o.for_hydra for o in fixed if o.key not in tree), *hydra_words(typed)], folders
    )
    settings = read_settings(whole)
    if params := _params(settings, found, tree):
        config = _check({**params, **found}, folders, tree)
    objective.check_constraints(config)
    if config["runtime"]["hosts"] is not None:
        raise ConfigError("runtime.hosts: a sweep trains each job in one process; leave it out")
    if config["sweep"]["sampler"] == "pbt":
        return _train_population({**params, **found}, config, settings, place, folders, tree)
    if config["sweep"]["sampler"] != "grid":
        return _search({**params, **found}, config, settings, place, folders, tree)
    _check_intervals({**params, **found}, settings)
    recipe = next((recipe_settings(o.value, tree) for o in fixed if o.key == "experiment"), {})
    passed = _passed({**params, **found}, config, tree)
    passed += [*hydra_words(typed), *logging_words(settings, typed), *_directions(config, settings, typed, recipe)]
    passed += ["++hydra.sweeper.params=null"] if params else []  # these words include them
    if place is not None and settings.sweep_dir:
        raise ConfigError(
            f"output_dir={place} hydra.sweep.dir={settings.sweep_dir}: both name the folder; set only one"
        )
    overwrite = any(o.key == "overwrite" and o.value is True for o in first)
    folder = claim(place or settings.sweep_dir or None, overwrite=overwrite)
    if settings.chosen["hydra/sweeper"] == "basic":
        write_plan(folder, list({**params, **found}.values()))
    if repeat:
        repeat.write(folder)
    keys = tuple(o.key for o in fixed)
    alone = settings.chosen["hydra/launcher"] != "basic"
    processes = 0
    if alone:
        jobs = math.prod(len(values or [o]) for o, values in {**params, **found}.values())
        word, processes = divide(settings, config, jobs=jobs)
        passed, keys = ([*passed, word], (*keys, "runtime.threads")) if word else (passed, keys)
    train = functools.partial(run_job, tuple(config["sweep"]["objectives"]), keys, processes)
    if settings.chosen["hydra/sweeper"] != "basic":  # it decides on a job when others have ended
        return run_in(folder, lambda: launch(passed, folder, folders, train=train))
    same = not typed and not any(key in tree and values is not None for key, (_, values) in found.items())

    def begin() -> None:
        jobs: list[Job] = expand(passed, folder, folders) if same and settings.plain and not params else []
        here = [word for word in passed if not word.lstrip("+").startswith(("hydra/launcher=", "hydra.launcher."))]
        here += ["hydra/launcher=basic"] if alone else []
        if not jobs:
            launch(here, folder, folders, train=lambda job: _collect(jobs, job))
        if composed := compose_jobs(jobs, keys):
            write_configs(folder, composed)
            if alone:
                write_places(folder, 1, {job.number: 0 for job in composed})
                launch_jobs(passed, folder, folders, launcher=settings.chosen["hydra/launcher"], train=train)
            else:
                train_composed(composed)

    return run_in(folder, begin, trust=trust_words(words))


def trust_words(words: Sequence[str]) -> list[str]:
    """Return the words that name packages of the user."""
    return [word for word in words if word.startswith("trust=")]


def _train_population(
    found: Found,
    config: Mapping[str, Any],
    settings: Settings,
    place: str | None,
    folders: tuple[Path, ...],
    tree: Tree,
) -> int:
    """Train jobs that copy one another, instead of those of Hydra's sweeper."""
    _refuse_launchers(settings, config["sweep"]["sampler"])
    population = importlib.import_module("dltrain.cli.population")
    plan = population.plan(found, config, folders, tree)
    overwrite = "overwrite" in found and found["overwrite"][0].value is True
    folder = claim(place or settings.sweep_dir or None, overwrite=overwrite)
    trust = [word for word in plan.fixed if word.startswith("trust=")]
    return run_in(folder, lambda: population.train(plan, folder, seed=config["seed"]), trust=trust)


def _refuse_launchers(settings: Settings, sampler: str) -> None:
    for name in ("sweeper", "launcher"):
        if (chosen := settings.chosen[f"hydra/{name}"]) != "basic":
            raise ConfigError(
                f"hydra/{name}={chosen} sweep.sampler={sampler}: a search has none of Hydra's; set only one"
            )


def _search(
    found: Found,
    config: Mapping[str, Any],
    settings: Settings,
    place: str | None,
    folders: tuple[Path, ...],
    tree: Tree,
) -> int:
    """Let Optuna choose the trials, instead of Hydra's sweeper."""
    _refuse_launchers(settings, config["sweep"]["sampler"])
    place = place or settings.sweep_dir or None
    overwrite = "overwrite" in found and found["overwrite"][0].value is True
    search = importlib.import_module("dltrain.cli.search").search
    return search(
        found,
        config,
        folders,
        tree,
        place=place,
        claim=lambda: claim(place, overwrite=overwrite),
        overwrite=overwrite,
    )


def _collect(jobs: list[Job], job: Job) -> Objectives:
    """Take a job that is trained later, together with others."""
    jobs.append(job)
    return math.nan


def _place(found: Found, folders: tuple[Path, ...], tree: Tree) -> tuple[str | None, dict[str, Any]]:
    """Take the folder of the sweep out of the overrides; return it with the config of the first combination."""
    if "output_dir" not in found:
        return None, _check(found, folders, tree)
    o = found["output_dir"][0]
    varied = [key for key, (_, several) in found.items() if several is not None]
    named = [key for key in varied if key == "output_dir" or re.search(rf"\$\{{\s*{re.escape(key)}\b", o.text)]
    if named:
        raise ConfigError(
            f"{o.word}: names the folder of the whole sweep, and {named[0]} differs between its jobs; name their "
            f"folders inside it: output_dir=FOLDER 'hydra.sweep.subdir=NAME-${{{varied[0]}}}'"
        )
    config = _check(found, folders, tree)
    del found["output_dir"]
    return config["output_dir"], config | {"output_dir": None}


def run_in(folder: Path, work: Callable[[], None], *, trust: Sequence[str] = ()) -> int:
    """Do the work of a sweep, and print what came of it; `trust` are the words that name packages of the user."""
    code, reason = 0, ""
    try:
        with locked(folder):
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
    if not left:
        shutil.rmtree(folder / JOBS, ignore_errors=True)
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
    again = [f"run what is missing with: {shlex.join(['dltrain', '-m', '--resume', str(folder)])}"] if left else []
    for line in (*([reason] if reason else []), *left, *again):
        print(f"dltrain: {line}", file=sys.stderr)
    return code or next((job["code"] for job in jobs if job["code"]), 0)


def _check(found: Found, folders: tuple[Path, ...], tree: Tree) -> dict[str, Any]:
    """Check each value separately and the first combination as a whole; return its config."""
    check_sweep([v for _, values in found.values() for v in values or []], tree)
    first = [o if values is None else values[0] for o, values in found.values() if values is None or values]
    return make_call(make_request("train", [o.typed for o in first], folders, tree)).compose().config


def _params(settings: Settings, found: Found, tree: Tree) -> Found:
    """Read the parameters in the sweeper's node, those of a sweep in a file; typed ones take precedence."""
    params = settings.sweeper.get("params") or {}
    if any(isinstance(value, Mapping | list) for value in params.values()):
        return {}  # of a sweeper with another format
    words = (read(f"{key}={value}", tree) for key, value in params.items())
    return {o.key: found.get(o.key, (o, values)) for o, values in words}


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
