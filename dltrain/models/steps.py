"""Helpers of models of sequences: which steps are valid, and token embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain.models.attention import steps_of
from dltrain.ops.embedding import embed
from dltrain.types import Array, Initializer, Kind, Spec


@dataclass(frozen=True)
class Names:
    """Names of the features that a model reads from its inputs; None for those the data does not have."""

    content: str
    length: str | None
    position: str | None
    decoder_tokens: str | None

    @classmethod
    def of(cls, spec: Spec) -> "Names":
        """Find the features by their kinds."""
        others = (spec.find(kind) for kind in (Kind.LENGTH, Kind.POSITION, Kind.DECODER_TOKENS))
        return cls(spec.input_name, *others)

    def read(self, inputs: Any) -> tuple[Array, Array | None]:
        """Return the content [B, L, ...] and which of its steps are valid, bool [B, L], or None for all."""
        if not isinstance(inputs, Mapping):
            return inputs, None
        steps = inputs[self.content]
        return steps, steps_of(inputs[self.length], steps.shape[1]) if self.length else None

    def fed(self, inputs: Any) -> Array:
        """Return the tokens that a decoder is fed, int [B, L]."""
        return inputs[self.decoder_tokens]


def check_steps(spec: Spec) -> None:
    """Raise ValueError unless the inputs are sequences or images, and besides only lengths and positions."""
    if spec.input.kind is Kind.NUMBERS:
        raise ValueError(
            f"needs a sequence or an image, but this data is a table of {spec.input.size} columns; try model=mlp"
        )
    if spec.input.kind is Kind.NGRAMS:
        raise ValueError("needs tokens in their order, but this data is n-grams of texts; choose data.tokens=words")
    used = (spec.input.kind, Kind.LENGTH, Kind.POSITION)
    if others := [name for name, feature in spec.inputs.items() if feature.kind not in used]:
        raise ValueError(f"does not use {', '.join(others)}, which is among the inputs of this data")


class Embedding(nnx.Module):
    """Token embeddings: int [...] -> float [..., width]."""

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs, init: Initializer) -> None:
        """Draw the embeddings."""
        self.table = nnx.Param(init(rngs.params(), (vocabulary, width)))

    def __call__(self, tokens: Array) -> Array:
        """Look up the embeddings."""
        return embed(tokens, self.table[...])


def mean_of(states: Array, valid: Array | None) -> Array:
    """Return the mean over the valid steps, [B, L, H] -> [B, H]."""
    if valid is None:
        return states.mean(1)
    total = jnp.where(valid[..., None], states, 0).sum(1)
    return total / valid.sum(1, keepdims=True).astype(states.dtype)


def max_of(states: Array, valid: Array | None) -> Array:
    """Return the maximum over the valid steps, [B, L, H] -> [B, H]."""
    return (states if valid is None else jnp.where(valid[..., None], states, -jnp.inf)).max(1)
