"""Learn low energies for examples like those of the data: for Boltzmann machines."""

from typing import Any

from dltrain.tasks.reconstruction import Reconstruction
from dltrain.types import Array, Spec


class Energy(Reconstruction):
    """Outputs are free energies, `data` and `model` [B], and a `reconstruction` [B, ...], for the metrics."""

    metrics_after_activation = False  # the reconstruction already holds probabilities

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `energy` of each example, float [B], and its `reconstruction`, scaled as the inputs are."""
        del spec
        return {"energy": outputs["data"], "reconstruction": outputs["reconstruction"]}
