"""A sweep that goes on: the jobs that are missing, with the configs that were composed when it began."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from dltrain.cli.job import settle, train_composed
from dltrain.cli.launched import holding, relaunch, words_for_launcher
from dltrain.cli.sweep import run_in, sweep
from dltrain.cli.sweep_words import trust_words
from dltrain.composition.compose import amend_words
from dltrain.composition.settings import compose_whole, hydra_words, read_hydra, read_settings, trusted
from dltrain.config.folders import Tree
from dltrain.config.hydra_node import is_hydra
from dltrain.runs.sealed import read_sealed
from dltrain.runs.sweep_files import MANIFEST, POPULATION, STOPPED
from dltrain.sweep.plan import missing, read_jobs
from dltrain.sweep.unfinished import read_notes


def resume(folder: Path, words: Sequence[str], folders: tuple[Path, ...], tree: Tree) -> int:
    """Run the jobs of a sweep that are missing, with the configs that were composed when it began.

    A search goes on by the words that it was started with, since what it trains next follows from the results.
    A launcher is typed again, as its settings may hold commands, and a folder may come from somebody else.
    """
    folder = folder.expanduser().resolve()
    if (folder / MANIFEST).is_file():
        return sweep([*read_sealed(folder / MANIFEST)["words"], *words, f"output_dir={folder}"], folders, tree)
    own = [word for word in words if not is_hydra(word.lstrip("+").partition("=")[0])]
    typed = read_hydra([word for word in words if word not in own], tree, trusted(own, tree))
    settings = read_settings(compose_whole(hydra_words(typed), folders))
    jobs = read_jobs(folder, lambda saved: amend_words(saved, *own))

    def go_on() -> None:
        settle(jobs)
        notes = [note for note in read_notes(folder) if note["ended"] and note["code"] not in STOPPED]
        left = missing(jobs, [note["number"] for note in notes if note["code"]])
        if (folder / POPULATION).is_file():
            left = importlib.import_module("dltrain.cli.population").as_members(folder, left)
        numbers = [job.number for job in left]
        with holding(folder, numbers):
            print(f"{folder}: {len(left)} of {len(jobs)} jobs are missing")
            if left and settings.chosen["hydra/launcher"] == "basic":
                train_composed(left)
        if left and settings.chosen["hydra/launcher"] != "basic":
            given = words_for_launcher(settings, typed)
            relaunch(left, folder, folders, settings=settings, given=given, words=own)

    return run_in(folder, go_on, trust=trust_words(words))
