"""Predict one of several classes for each example."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dltrain.errors import ConfigError
from dltrain.tasks.task import Drawing, Task, check_classes
from dltrain.types import Array, Kind, Spec


class Classification(Task):
    """Targets int [B] in 0..K-1; outputs are logits [B, K]."""

    target_kind = Kind.CATEGORY
    decision = "class"

    def outputs(self, spec: Spec) -> int:
        """Return K, a logit for each class."""
        return len(spec.classes)

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the target is one of several classes per example."""
        super().check(spec)
        if spec.target.shape:
            raise ConfigError(
                f"task={self}: needs one class per example, found classes of shape {list(spec.target.shape)}"
            )
        check_classes(self, spec)

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the most likely `class`, int [B], and the `probabilities`, float [B, K]."""
        del spec
        return {"class": outputs.argmax(-1), "probabilities": jax.nn.softmax(outputs)}

    def classes(self, spec: Spec) -> int:
        """Return K."""
        return len(spec.classes)

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Return one-hot probabilities, [B] -> [B, K]."""
        return jax.nn.one_hot(targets, self.outputs(spec), dtype=dtype)

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw examples with the predicted and the true class."""
        del spec
        return {"samples": "samples"}
