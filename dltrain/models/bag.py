"""The mean of the embeddings of a text's tokens or n-grams: a text as one vector."""

import jax.numpy as jnp
from flax import nnx

from dltrain.models.attention import steps_of
from dltrain.models.steps import Embedding
from dltrain.types import Array, Feature, Initializer, Kind


class Bag(nnx.Module):
    """Numbers of tokens or n-grams, int [B, L] -> float [B, width]; of a text without any, zeros."""

    def __init__(self, feature: Feature, width: int, *, rngs: nnx.Rngs, init: Initializer) -> None:
        """Draw an embedding for each token or bucket."""
        rows = feature.buckets + 1 if feature.kind is Kind.NGRAMS else len(feature.vocabulary)
        self.embedding = Embedding(rows, width, rngs=rngs, init=init)

    def __call__(self, numbers: Array, length: Array | None = None) -> Array:
        """Return the means; with `length` [B] the first ones count, else those that are not 0, which is padding."""
        valid = numbers != 0 if length is None else steps_of(length, numbers.shape[1])
        total = jnp.where(valid[..., None], self.embedding(numbers), 0).sum(1)
        return total / jnp.maximum(valid.sum(1, keepdims=True), 1).astype(total.dtype)
