"""Predict one of two classes for each example, from one logit."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks.classification import Classification
from dltrain.tasks.task import mean_logits
from dltrain.types import Array, Spec


class Binary(Classification):
    """Targets int [B] in 0..1; outputs [B, 1], the logit of the second class."""

    def outputs(self, spec: Spec) -> int:
        """Return 1, the number of logits."""
        del spec
        return 1

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the target is one of two classes per example."""
        super().check(spec)
        if len(spec.classes) != 2:
            raise ConfigError(
                f"task={self}: needs two classes, the data has {len(spec.classes)}; try task=classification"
            )

    def combine(self, outputs: Array) -> Array:
        """Return the logit of the mean probability of k members, [B, k, 1] -> [B, 1]."""
        return mean_logits(outputs)

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `class`, int [B], and the `probability` of the second class, float [B]."""
        del spec
        logits = outputs[:, 0]
        return {"class": (logits > 0).astype("int32"), "probability": jax.nn.sigmoid(logits)}

    def probabilities(self, decisions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the probabilities of both classes, [N, 2]."""
        positive = np.asarray(decisions["probability"])
        return np.stack([1 - positive, positive], 1)

    def logits(self, logs: np.ndarray) -> np.ndarray:
        """Return the logit of the second class, [..., 2] -> [..., 1]."""
        return logs[..., 1:] - logs[..., :1]

    def classes(self, spec: Spec) -> int:
        """Return 2."""
        del spec
        return 2

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Return the probability of the second class, [B]."""
        del spec
        return targets.astype(dtype)
