"""Reconstruct the inputs: for autoencoders."""

from collections.abc import Mapping
from typing import Any

from dltrain.tasks.task import Drawing, Task
from dltrain.types import Array, Spec


class Reconstruction(Task):
    """Targets are the scaled inputs before augmentation; outputs have their shape."""

    targets_are_inputs = True
    metrics_after_activation = True
    decision = "reconstruction"

    def outputs(self, spec: Spec) -> int:
        """Return the number of elements of the input."""
        return spec.input.size

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `reconstruction`, float [B, ...], scaled as the inputs are."""
        del spec
        return {"reconstruction": outputs}

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw inputs and their reconstructions."""
        del spec
        return {"reconstructions": "reconstructions"}
