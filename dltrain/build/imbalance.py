"""Config -> weights of classes and a balanced order, from the classes of the training examples."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.types import Array, Spec


def with_class_weights(objective: Objective, spec: Spec, weights: Array | None = None) -> Objective:
    """Replace `loss.class_weights=balanced` by the weights of the classes; given ones [K] may be traced.

    Raises:
        ConfigError: see `balanced_weights`.
    """
    found = balanced_weights(objective, spec) if weights is None else weights
    loss: Callable[..., Any] = objective.loss
    return objective if found is None else replace(objective, loss=partial(loss, class_weights=found))


def balanced_weights(objective: Objective, spec: Spec) -> tuple[float, ...] | None:
    """Return N / (K N_k), with which the classes weigh the same in the loss; None if it has other weights or none.

    Raises:
        ConfigError: the targets are not one class per example, or a class has no training example.
    """
    loss = objective.loss
    if not isinstance(loss, partial) or loss.keywords.get("class_weights") != "balanced":
        return None
    if "train" not in spec.counts:
        raise ConfigError(
            "loss.class_weights=balanced: targets are not one class per example; set loss.class_weights=null"
        )
    counts = np.asarray(spec.counts["train"], np.float64)
    if not counts.all():
        lost = spec.classes[int(counts.argmin())]
        raise ConfigError(f"loss.class_weights=balanced: no training example is of class {lost}; give a list")
    return tuple((counts.sum() / (len(counts) * counts)).tolist())


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
