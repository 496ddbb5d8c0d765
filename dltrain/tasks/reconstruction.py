"""The inputs themselves, through a narrow place: for autoencoders."""

from collections.abc import Mapping
from typing import Any

from dltrain.tasks.task import Drawing, Task
from dltrain.types import Array, Spec


class Reconstruction(Task):
    """Targets are the inputs as the model is given them, before augmentation; outputs have their shape."""

    targets_are_inputs = True
    metrics_after_activation = True
    decision = "reconstruction"

    def outputs(self, spec: Spec) -> int:
        """Return how many numbers the input has."""
        return spec.input.size

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `reconstruction`, float [B, ...], scaled as the inputs are."""
        del spec
        return {"reconstruction": outputs}

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw inputs and what the model makes of them."""
        del spec
        return {"reconstructions": "reconstructions"}
