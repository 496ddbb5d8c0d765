"""Content of `model.json`: the spec and fitted preprocessing, to rebuild a model without its data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dltrain.build.locate import locate
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.data.preprocess import Preprocess
from dltrain.errors import CheckpointError
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import read_sealed, seal
from dltrain.tasks import Task
from dltrain.types import Spec

VERSION = 1


@dataclass(frozen=True)
class SavedModel:
    """Everything needed to rebuild a model besides its config and weights."""

    spec: Spec  # of the raw examples
    preprocess: Preprocess
    eval_batch_size: int


def saved_model(parts: Parts, plan: Plan, *, run: str) -> dict[str, Any]:
    """Return everything needed to rebuild the model besides the config and the weights; `run` is the run's id."""
    return {
        "version": VERSION,
        "run": run,
        "spec": parts.raw_spec.to_json(),
        "preprocess": parts.preprocess.to_json(),
        "eval_batch_size": plan.eval_batch_size,
    }


def read_saved(path: Path, trust: tuple[str, ...], *, task: Task) -> SavedModel:
    """Read the result of `saved_model`; `task` is that of the run's config.

    Raises:
        CheckpointError: the file is missing or damaged, or another version of dltrain wrote it.
        ConfigError: a preprocessing step is of a class that is not allowed.
    """
    saved = read_sealed(path)
    if saved.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: version {saved.get('version')!r} is not known; this dltrain reads version {VERSION}"
        )
    try:
        spec = Spec.from_json(saved["spec"], task=task)
        find = partial(locate, path=path.name, trust=trust)
        about = {"reconstructs": task.targets_are_inputs, "quantiles": bool(task.quantiles)}
        preprocess = Preprocess.from_json(saved["preprocess"], find, **about)
        size = saved["eval_batch_size"]
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"eval_batch_size={size!r}: expected a whole number ≥ 1")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path} is damaged: {what}") from error
    return SavedModel(spec, preprocess, size)


def restore_saved(
    folder: RunFolder, parts: Parts, plan: Plan, start: Checkpoint, *, warn: Callable[[str], None]
) -> None:
    """Write model.json again if it is missing or damaged, which `warn` is told; the run's data is there."""
    try:
        saved = read_sealed(folder.model)
        if saved.get("run") == start.about.get("run"):
            return
        problem = f"{folder.model} is of another run"
    except CheckpointError as error:
        problem = str(error)
    warn(f"{problem}: it is written again")
    folder.files.replace_json("model.json", seal(saved_model(parts, plan, run=start.about.get("run", ""))))
