"""Finds out what a folder holds, and opens its model for the server: the project's own runs only."""

from pathlib import Path

from dltrain.errors import ConfigError
from dltrain.inference.run import Run
from dltrain.serving.model import Served, ServedBundle


def served_run(run: Run) -> Served:
    """Return the model of a run, named by its folder.

    Raises:
        ConfigError: its model generates, and predicts nothing.
        CheckpointError: it cannot be read.
    """
    run.bundle.check_predicts()
    return ServedBundle(name_of(run.path), run.bundle, run.step)


def name_of(path: Path) -> str:
    """Return the name of a model: that of its folder."""
    name = path.resolve().name
    if not name or not name.isprintable():
        raise ConfigError(f"{path}: the name of the folder becomes the name of the model; rename it")
    return name
