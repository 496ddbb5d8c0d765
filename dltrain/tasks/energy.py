"""Low energies for examples like those of the data: for Boltzmann machines."""

from typing import Any

from dltrain.tasks.reconstruction import Reconstruction
from dltrain.types import Array, Spec


class Energy(Reconstruction):
    """Outputs are free energies, `data` and `model` [B], and a `reconstruction` [B, ...], which metrics judge."""

    metrics_after_activation = False  # the model itself returns probabilities

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `energy` of each example, float [B], and its `reconstruction`, scaled as the inputs are."""
        del spec
        return {"energy": outputs["data"], "reconstruction": outputs["reconstruction"]}
