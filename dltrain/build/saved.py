"""Content of `model.json`: the spec and fitted preprocessing, to rebuild a model without its data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dltrain.build.locate import locate
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.data.preprocess import Preprocess
from dltrain.errors import CheckpointError
from dltrain.tasks import Task
from dltrain.types import Spec

VERSION = 1


@dataclass(frozen=True)
class SavedModel:
    """Everything needed to rebuild a model besides its config and weights."""

    spec: Spec  # of the raw examples
    preprocess: Preprocess
    eval_batch_size: int


def saved_model(parts: Parts, plan: Plan) -> dict[str, Any]:
    """Return everything needed to rebuild the model besides the config and the weights."""
    return {
        "version": VERSION,
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
    saved = _read_json(path)
    if saved.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: version {saved.get('version')!r} is not known; this dltrain reads version {VERSION}"
        )
    try:
        spec = Spec.from_json(saved["spec"], task=task)
        find = partial(locate, path=path.name, trust=trust)
        preprocess = Preprocess.from_json(saved["preprocess"], find, reconstructs=task.targets_are_inputs)
        size = saved["eval_batch_size"]
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"eval_batch_size={size!r}: expected a whole number ≥ 1")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path} is damaged: {what}") from error
    return SavedModel(spec, preprocess, size)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"{path} is damaged: expected a mapping, found {type(saved).__name__}")
    return saved
