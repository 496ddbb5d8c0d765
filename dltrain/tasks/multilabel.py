"""Predict which of several labels are true for each example; none, one or many may be."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks.classification import NEVER
from dltrain.tasks.task import Task, mean_logits
from dltrain.types import Array, Kind, Spec


class Multilabel(Task):
    """Targets int [B, T], 0 or 1 for each label; outputs [B, T], a logit for each."""

    target_kind = Kind.LABELS
    decision = "labels"

    def outputs(self, spec: Spec) -> int:
        """Return T, a logit for each label."""
        return spec.target.size

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless each target is a list of labels with names."""
        super().check(spec)
        if spec.target.shape != (len(spec.labels),):
            raise ConfigError(
                f"task={self}: found {len(spec.labels)} names for labels of shape {list(spec.target.shape)}"
            )

    def combine(self, outputs: Array) -> Array:
        """Return the logits of the mean probabilities of k members, [B, k, T] -> [B, T]."""
        return mean_logits(outputs)

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `labels` that are likely, int [B, T], and the `probabilities` of all, float [B, T]."""
        del spec
        return {"labels": (outputs > 0).astype("int32"), "probabilities": jax.nn.sigmoid(outputs)}

    def columns(self, decisions: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
        """Return the `labels` that are likely, joined by `|`, and `probability_NAME` of each label, [N] each."""
        likely, probabilities = np.asarray(decisions["labels"]) > 0, np.asarray(decisions["probabilities"])
        joined = ["|".join(name for name, has in zip(spec.labels, row, strict=True) if has) for row in likely]
        named = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(spec.labels)}
        return {"labels": np.array(joined, object), **named}

    def classes(self, spec: Spec) -> int:
        """Raise ValueError: an example has labels, not a class."""
        raise ValueError(f"a metric of classes cannot evaluate task={self}; use metrics=multilabel")

    def constants(self, targets: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
        """Return the logits of the shares of the labels, [T]: those that most examples have are predicted."""
        del spec
        shares = np.clip(targets.mean(0), NEVER / len(targets), 1 - NEVER / len(targets))
        return {"shares of train": np.log(shares / (1 - shares)).astype(np.float32)}

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Return the probability of each label, [B, T]."""
        del spec
        return targets.astype(dtype)
