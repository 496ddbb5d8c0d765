"""The model of a folder for the server: the project's own runs and exports only, whose files are checked."""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.saved import read_saved
from dltrain.config.call import Composed
from dltrain.data.encoders import encoder_for
from dltrain.errors import ConfigError
from dltrain.inference.compiled import Arrays, compile_decisions, decision_shapes
from dltrain.inference.run import Run
from dltrain.runs.folder import RunFolder
from dltrain.runs.restore import Warn
from dltrain.serving.model import Decide, ServedModel, Tensor

EXPORT = "signature.json"
"""The file that an exported folder has and a run has not."""
MODEL = "model.json"


def open_served(folder: RunFolder, composed: Composed, *, checkpoint: str | int, warn: Warn) -> ServedModel:
    """Return the model of a run folder or of an exported folder.

    Args:
        folder: the folder.
        composed: its checked config.
        checkpoint: of a run: best, last, or a step.
        warn: told of what was found while reading.
    """
    if not is_export(folder.path):
        return served_run(Run(folder, composed, checkpoint=checkpoint, warn=warn))
    load = importlib.import_module("dltrain.inference.export.exported").load_exported
    return served_export(load(folder.path, trust=composed.trust), trust=composed.trust)


def served_run(run: Run) -> ServedModel:
    """Return the model of a run, named by its folder.

    Raises:
        ConfigError: its model generates, and predicts nothing.
        CheckpointError: it cannot be read.
    """
    bundle = run.bundle
    bundle.check_predicts()
    shapes = decision_shapes(bundle).items()
    return ServedModel(
        name_of(run.path),
        bundle.raw_spec,
        bundle.preprocess,
        bundle.encoder,
        outputs=tuple(Tensor(name, str(shape.dtype), shape.shape[1:]) for name, shape in shapes),
        program=partial(compile_decisions, bundle),
        about={"step": run.step},
    )


def served_export(exported: Any, *, trust: tuple[str, ...] = ()) -> ServedModel:
    """Return the model of an exported folder, named by it.

    Args:
        exported: what `dltrain.load_exported` returned: `path`, `signature`, `spec`, and a call for arrays by name.
        trust: packages with parts of the user's own.

    Raises:
        CheckpointError: a file is damaged.
    """
    spec, outputs = exported.spec, exported.signature["outputs"]
    preprocess = read_saved(exported.path / MODEL, trust, task=spec.task).preprocess
    until = exported.signature.get("readable_until")
    return ServedModel(
        name_of(exported.path),
        spec,
        preprocess,
        preprocess.encoder or encoder_for(spec),
        outputs=tuple(Tensor(n, about["dtype"], tuple(about["shape"][1:])) for n, about in outputs.items()),
        program=partial(_of_export, exported),
        about={"readable_until": until} if until else {},
    )


def _of_export(exported: Any, size: int) -> Decide:
    """Return the program of an export, which takes batches of any size and is compiled for each."""

    def decide(inputs: Arrays, mask: np.ndarray) -> dict[str, np.ndarray]:
        assert len(mask) == size
        return exported(dict(inputs))

    return decide


def is_export(path: Path) -> bool:
    """Tell whether a folder is an export rather than a run."""
    return (path / EXPORT).is_file()


def name_of(path: Path) -> str:
    """Return the name of a model: that of its folder."""
    name = path.resolve().name
    if not name or not name.isprintable():
        raise ConfigError(f"{path}: the name of the folder becomes the name of the model; rename it")
    return name
