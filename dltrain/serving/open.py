"""Finds out what a folder holds, and opens its model for the server: the project's own runs only."""

from pathlib import Path

from dltrain.config.call import Composed
from dltrain.errors import ConfigError
from dltrain.inference.export import signature, weights
from dltrain.inference.export.make import read_export
from dltrain.inference.open import open_weights
from dltrain.inference.run import Run
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import read_bytes
from dltrain.serving.model import Served, ServedBundle


def served_run(run: Run) -> Served:
    """Return the model of a run, named by its folder.

    Raises:
        ConfigError: its model generates, and predicts nothing.
        CheckpointError: it cannot be read.
    """
    run.bundle.check_predicts("serve")
    return ServedBundle(name_of(run.path), run.bundle, run.step)


def check_export(path: Path) -> None:
    """Raise CheckpointError if a folder has a signature, but is not a whole export."""
    if (path / signature.FILE).exists():
        read_export(path)


def served_export(folder: RunFolder, composed: Composed) -> Served:
    """Return the model of an exported folder, rebuilt of its weights and config; its run is not needed.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    about, file = read_export(folder.path), folder.path / weights.FILE
    bundle = open_weights(folder, composed, weights.from_safetensors(read_bytes(file), str(file)))
    bundle.check_predicts("serve")
    return ServedBundle(about["name"], bundle, int(about["run"]["step"]))


def name_of(path: Path) -> str:
    """Return the name of a model: that of its folder."""
    name = path.resolve().name
    if not name or not name.isprintable():
        raise ConfigError(f"{path}: the name of the folder becomes the name of the model; rename it")
    return name
