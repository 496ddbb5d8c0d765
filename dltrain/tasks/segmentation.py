"""Predict a class for each pixel."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks.task import Drawing, Level, Task, check_classes
from dltrain.types import Array, Kind, Spec


class Segmentation(Task):
    """Targets int [B, H, W] in 0..K-1; outputs are logits [B, H, W, K]."""

    target_kind = Kind.CATEGORY
    level = Level.PIXEL
    decision = "mask"

    def outputs(self, spec: Spec) -> int:
        """Return K, a logit for each class."""
        return len(spec.classes)

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the target is a class for each pixel."""
        super().check(spec)
        if len(spec.target.shape) != 2:
            raise ConfigError(f"task={self}: needs a class for each pixel, and this data has one per example")
        check_classes(self, spec)

    def combine(self, outputs: Array) -> Array:
        """Return the logarithms of the mean probabilities of k members, logits [B, k, H, W, K] -> [B, H, W, K]."""
        return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=1) - math.log(outputs.shape[1])

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the most likely class of each pixel, the `mask`, int [B, H, W]."""
        del spec
        return {"mask": outputs.argmax(-1)}

    def classes(self, spec: Spec) -> int:
        """Return K."""
        return len(spec.classes)

    def constants(self, targets: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
        """Return the logarithms of the shares of the classes at each pixel of the training images, [H, W, K]."""
        counts = np.stack([(targets == number).sum(0) for number in range(len(spec.classes))], -1)
        return {
            "most frequent class of each pixel": np.log(np.maximum(counts, 0.5) / len(targets)).astype(np.float32)
        }

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw inputs, true and predicted masks."""
        del spec
        return {"masks": "masks"}
