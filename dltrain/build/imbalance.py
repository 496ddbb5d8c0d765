"""Config -> weights of classes and a balanced order, from the classes of the training examples."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.types import Spec


def with_class_weights(objective: Objective, spec: Spec) -> Objective:
    """Replace `loss.class_weights=balanced` by N / (K N_k), so that the classes weigh the same in the loss.

    Raises:
        ConfigError: the targets are not one class per example, or a class has no training example.
    """
    loss = objective.loss
    if not isinstance(loss, partial) or loss.keywords.get("class_weights") != "balanced":
        return objective
    if "train" not in spec.counts:
        raise ConfigError(
            "loss.class_weights=balanced: targets are not one class per example; set loss.class_weights=null"
        )
    counts = np.asarray(spec.counts["train"], np.float64)
    if not counts.all():
        lost = spec.classes[int(counts.argmin())]
        raise ConfigError(f"loss.class_weights=balanced: no training example is of class {lost}; give a list")
    weights = tuple((counts.sum() / (len(counts) * counts)).tolist())
    return replace(objective, loss=partial(loss, class_weights=weights))


def balanced_classes(own: Mapping[str, Any], labels: np.ndarray | None, *, shuffle: bool) -> np.ndarray | None:
    """Return the class of each training example for `data.sampling=balanced`, int [N]; None for other orders.

    Raises:
        ConfigError: there is not one class per example, or the order is not a random one.
    """
    if own["sampling"] != "balanced":
        return None
    if labels is None:
        raise ConfigError(
            "data.sampling=balanced: targets are not one class per example; set data.sampling=uniform"
        )
    if not shuffle:
        raise ConfigError("data.sampling=balanced: draws at random; set data.shuffle=true model.stateful=false")
    return labels
