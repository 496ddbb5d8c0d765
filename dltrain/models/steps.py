"""What models of sequences share: which steps of a row are there, and how tokens and pictures become vectors."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain.models.attention import steps_of
from dltrain.ops.embedding import embed
from dltrain.types import Array, Initializer, Kind, Spec


def taken_apart(inputs: Any) -> tuple[Array, Array | None]:
    """Return the steps of what a model is given, [B, L, ...], and which are there, bool [B, L] or None for all."""
    if not isinstance(inputs, Mapping):
        return inputs, None
    steps, lengths = inputs["main"], inputs.get("lengths")
    return steps, None if lengths is None else steps_of(lengths, steps.shape[1])


def check_steps(spec: Spec) -> None:
    """Raise ValueError unless rows are sequences or pictures, with nothing beside them but lengths and places."""
    if spec.kind is Kind.TABLE:
        raise ValueError(
            f"needs a sequence or a picture, and this data is a table of {spec.inputs.size} columns; try model=mlp"
        )
    if others := [name for name in spec.beside if name not in ("lengths", "at")]:
        raise ValueError(f"has no use for {', '.join(others)}, which this data gives beside its inputs")


class Embedding(nnx.Module):
    """A vector for each token: int [...] -> float [..., width]."""

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs, init: Initializer) -> None:
        """Draw the vectors."""
        self.table = nnx.Param(init(rngs.params(), (vocabulary, width)))

    def __call__(self, tokens: Array) -> Array:
        """Look the vectors up."""
        return embed(tokens, self.table[...])


def mean_of(states: Array, there: Array | None) -> Array:
    """Return the mean over the steps that are there, [B, L, H] -> [B, H]."""
    if there is None:
        return states.mean(1)
    total = jnp.where(there[..., None], states, 0).sum(1)
    return total / there.sum(1, keepdims=True).astype(states.dtype)


def max_of(states: Array, there: Array | None) -> Array:
    """Return the maximum over the steps that are there, [B, L, H] -> [B, H]."""
    return (states if there is None else jnp.where(there[..., None], states, -jnp.inf)).max(1)
