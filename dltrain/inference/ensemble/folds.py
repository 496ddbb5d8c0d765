"""Out-of-fold predictions: each example by the model that was not trained on it, in a cross-validation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.errors import DataError
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.frames import frame_of
from dltrain.tasks.task import columns_of_targets
from dltrain.types import Kind, Spec

FILE = "out_of_fold.csv"


@dataclass(frozen=True)
class OutOfFold:
    """The examples of all folds, by their numbers.

    Attributes:
        examples: numbers of the examples in the data, int [N], rising.
        folds: the fold of each, int [N]: the model of this fold predicted it, and was not trained on it.
        outputs: in the units of the data, [N, ...].
        targets: [N, ...].
    """

    examples: np.ndarray
    folds: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray


def out_of_fold(ensemble: Ensemble) -> OutOfFold:
    """Predict the validation examples of each member by this member alone.

    Args:
        ensemble: of the K folds of one cross-validation.

    Raises:
        DataError: an example is in two folds.
    """
    examples, folds, outputs = [], [], []
    for number, run in enumerate(ensemble.runs):
        mine = ensemble.split_of(number, "validation")
        examples.append(mine)
        folds.append(np.full(len(mine), run.config["data"]["fold"]))
        outputs.append(ensemble.member_outputs(number, mine))
    every = np.concatenate(examples)
    order = np.argsort(every, kind="stable")
    if len(twice := np.flatnonzero(np.diff(every[order]) == 0)):
        raise DataError(
            f"example {every[order][twice[0]]} is in two folds, so the runs are not one cross-validation"
        )
    targets = ensemble.program.parts.source.read(every[order])["targets"]
    return OutOfFold(every[order], np.concatenate(folds)[order], np.concatenate(outputs)[order], targets)


def out_of_fold_csv(found: OutOfFold, spec: Spec) -> str:
    """Return a line for each example: its number, its fold, its target, and what was predicted.

    Raises:
        ConfigError: predictions of this task have no columns, as masks have none.
    """
    decided = {name: np.asarray(value) for name, value in spec.task.decide(found.outputs, spec).items()}
    columns = spec.task.columns(decided, spec)
    ids = {"example": found.examples, "fold": found.folds, **_target_columns(found.targets, spec)}
    return frame_of(ids, columns, valid=None).write_csv()


def _target_columns(targets: np.ndarray, spec: Spec) -> Mapping[str, Any]:
    """Return targets as columns: names of classes, labels joined by `|`, or a column for each number."""
    (name, feature), task = next(iter(spec.targets.items())), spec.task
    if feature.kind is Kind.CATEGORY:
        return {name: np.array(spec.classes, object)[targets]}
    if feature.kind is Kind.LABELS:
        rows = ["|".join(label for label, has in zip(spec.labels, row, strict=True) if has) for row in targets]
        return {name: np.array(rows, object)}
    return columns_of_targets({"value": targets}, spec, replace(task, quantiles=()))
