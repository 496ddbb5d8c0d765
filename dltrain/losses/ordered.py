"""The loss of classes that have an order."""

import jax.numpy as jnp

from dltrain.losses.outputs import takes
from dltrain.losses.targets import are_labels, misfit, pick, widened
from dltrain.tasks.ordinal import log_probabilities
from dltrain.types import Array, Batch


@takes("logits")
def ordinal(outputs: Array, batch: Batch) -> Array:
    """`-log P(y)` from continuation ratios: outputs [B, K-1] logits, targets int [B] -> [B].

    Output j is the logit of "above class j, if not below it"; see `tasks.ordinal`.
    """
    outputs, targets = widened(outputs), jnp.asarray(batch["targets"])
    if not are_labels(targets) or outputs.ndim != targets.ndim + 1:
        raise misfit("ordinal", "outputs [B, K-1] and targets int [B]", outputs, targets, "use task=ordinal")
    return -pick(log_probabilities(outputs), targets.astype(jnp.int32))
