"""Population-based training from the command line (`-m sweep=pbt`): its checks, and its members as jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain.cli.job import compose_jobs, train_composed
from dltrain.cli.search_plan import Found, Plan, make_plan
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.launch import Job
from dltrain.config.folders import Tree
from dltrain.errors import ConfigError
from dltrain.report.console import Screen
from dltrain.sweep.groups import SweepJob, program_of
from dltrain.sweep.plan import write_configs
from dltrain.sweep.population import begin_population, read_population
from dltrain.sweep.space import Dimension

SEEDS = 2**32
SEED = "seed"  # differs between members, so that copies of one state do not stay equal


def plan(found: Found, config: Mapping[str, Any], folders: tuple[Path, ...], tree: Tree) -> Plan:
    """Check what is searched, before anything is written.

    Raises:
        ConfigError: a searched key is not a number that can change during training.
    """
    made = make_plan(found, config, folders, tree)
    for dimension in made.space:
        _check_number(dimension, made, tree)
    return made


def train(made: Plan, folder: Path, *, seed: int) -> None:
    """Train a new population in a folder that was claimed; `seed` is that of the first member."""
    population, numbers = begin_population(folder, made.space, settings=made.settings)
    screen = Screen(quiet=made.quiet)
    interval, trials = made.settings["interval"], made.settings["trials"]
    screen.say(f"search  pbt: {trials} members, an exchange every {interval} evaluations")
    for dimension in made.space:
        screen.say(f"        {dimension}")
    fixed = [word for word in made.fixed if word.partition("=")[0] != SEED]
    jobs = [
        Job(
            number,
            (
                *fixed,
                *(dimension.word(given[dimension.key]) for dimension in made.space),
                f"{SEED}={(seed + number) % SEEDS}",
            ),
            made.folders,
            folder / str(number),
            folder,
        )
        for number, given in enumerate(numbers)
    ]
    composed = [replace(job, population=population) for job in compose_jobs(jobs, made.keys)]
    if composed:
        population.write()  # first: the configs alone would be resumed as those of a grid
        write_configs(folder, composed)
        train_composed(composed)


def as_members(folder: Path, jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """Return jobs that are to be resumed as members of the population of their sweep.

    Those of the last exchange go on from its checkpoints; before the first exchange all begin again.
    """
    population = read_population(folder)
    found = []
    for job in jobs:
        resumes = job.resumes and bool(population.last)
        if not resumes:
            job.composed.config["overwrite"] = True
        found.append(replace(job, population=population, resumes=resumes))
    return found


def _check_number(dimension: Dimension, made: Plan, tree: Tree) -> None:
    """Raise ConfigError unless a key is a leaf of the state: then configs with other values share a program."""
    ends = [dimension.word(value) for value in (dimension.low, dimension.high)]
    others = [d.word(d.low) for d in made.space if d.key != dimension.key]
    jobs = [
        SweepJob(
            0,
            (end,),
            Path(),
            end,
            make_call(make_request("train", [*made.fixed, *others, end], made.folders, tree)).compose(),
            Path(),
        )
        for end in ends
    ]
    if dimension.key == SEED or program_of(jobs[0]) != program_of(jobs[1]):
        raise ConfigError(
            f"{dimension.key}: sweep=pbt changes numbers while it trains, and this one is not in the state of "
            "training, such as optim.learning_rate; choose sweep=tpe to search it"
        )
