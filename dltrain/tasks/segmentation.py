"""Predict a class for each pixel."""

from collections.abc import Mapping
from typing import Any

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

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the most likely class of each pixel, the `mask`, int [B, H, W]."""
        del spec
        return {"mask": outputs.argmax(-1)}

    def classes(self, spec: Spec) -> int:
        """Return K."""
        return len(spec.classes)

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw inputs, true and predicted masks."""
        del spec
        return {"masks": "masks"}
