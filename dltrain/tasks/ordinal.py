"""Predict one of several classes that have an order, such as grades from bad to good."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.tasks.classification import Classification
from dltrain.types import Array, Spec


class Ordinal(Classification):
    """Targets int [B] in 0..K-1, in the order of the classes; outputs [B, K-1].

    Output j is the logit of "above class j, if not below it" (continuation ratios). So each probability depends on
    the order, and they sum to 1 whatever the outputs are. Shi, Cao and Raschka, CORN, arXiv:2111.08851.
    """

    def outputs(self, spec: Spec) -> int:
        """Return K-1, a logit for each step from one class to the next."""
        return len(spec.classes) - 1

    def finish(self, outputs: Any, spec: Spec) -> Array:
        """Return the logarithms of the class probabilities, [B, ..., K], which metrics take for logits."""
        del spec
        return log_probabilities(outputs)

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Raise ValueError: between two classes there are others."""
        raise ValueError(f"targets of task={self} cannot be mixed")


def log_probabilities(outputs: Array) -> Array:
    """Return log P(y = c) of K classes from K-1 continuation ratios: `Σ_{j<c} log σ(z_j) + log σ(-z_c)`.

    The last class has no second term.
    """
    above = jnp.cumsum(jax.nn.log_sigmoid(outputs), -1)
    zero = jnp.zeros_like(outputs[..., :1])
    reached = jnp.concatenate([zero, above], -1)
    stays = jnp.concatenate([jax.nn.log_sigmoid(-outputs), zero], -1)
    return reached + stays
