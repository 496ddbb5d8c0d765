"""Predict one of several classes for each example."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks.task import Drawing, Task, check_classes
from dltrain.types import Array, Kind, Spec

NEVER = 0.5  # examples that a class without any counts for, so that its logarithm is finite


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

    def combine(self, outputs: Array) -> Array:
        """Return the logarithm of the mean probabilities of k members, logits [B, k, K] -> [B, K]."""
        return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=1) - math.log(outputs.shape[1])

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the most likely `class`, int [B], and the `probabilities`, float [B, K]."""
        del spec
        return {"class": outputs.argmax(-1), "probabilities": jax.nn.softmax(outputs)}

    def columns(self, decisions: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
        """Return the name of the `class`, and `probability_NAME` of each class, [N] each."""
        probabilities = np.asarray(self.probabilities(decisions))
        named = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(spec.classes)}
        return {"class": np.array(spec.classes, object)[np.asarray(decisions["class"])], **named}

    def probabilities(self, decisions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the probabilities of all classes, [N, K], from what `decide` returned."""
        return decisions["probabilities"]

    def classes(self, spec: Spec) -> int:
        """Return K."""
        return len(spec.classes)

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Return one-hot probabilities, [B] -> [B, K]."""
        return jax.nn.one_hot(targets, self.outputs(spec), dtype=dtype)

    def constants(self, targets: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
        """Return the logarithms of the shares of the classes, [K], which predict the most frequent one."""
        counts = np.bincount(targets.reshape(-1), minlength=len(spec.classes))
        shares = np.maximum(counts, NEVER) / counts.sum()
        return {f"always {spec.classes[counts.argmax()]}": self.logits(np.log(shares)).astype(np.float32)}

    def logits(self, logs: np.ndarray) -> np.ndarray:
        """Return logarithms of the probabilities of the classes, [..., K], as metrics see outputs."""
        return logs

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw examples with the predicted and the true class."""
        del spec
        return {"samples": "samples"}
