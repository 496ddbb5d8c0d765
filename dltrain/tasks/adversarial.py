"""Generate examples that a discriminator takes for real ones: for generative adversarial networks."""

from typing import Any

import jax

from dltrain.tasks.task import Task
from dltrain.types import Array, Spec


class Adversarial(Task):
    """No targets; outputs are the discriminator's logits of `real` and `fake` examples, [B] each."""

    decision = "probability"

    def outputs(self, spec: Spec) -> int:
        """Return the number of elements of a generated example."""
        return spec.input.size

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `probability` that each example is real, float [B]."""
        del spec
        return {"probability": jax.nn.sigmoid(outputs["real"])}
