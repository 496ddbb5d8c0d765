"""The inputs of a model as one vector per example: what every model for vectors begins with."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.bag import Bag
from dltrain.models.embeddings import Embedding, make_embedding
from dltrain.models.pixels import Pixels
from dltrain.types import Array, Feature, Kind, Spec

ONE_HOT = 9  # most levels of a category that becomes a column for each level; more are embedded
EMBEDDED = 8  # numbers that stand for a level of a category with more
TEXT = 32  # numbers that stand for a text
NUMERIC = (Kind.NUMBERS, Kind.IMAGE, Kind.SEQUENCE)


class Vector(nnx.Module):
    """Joins the inputs that have content to a vector; numbers may be embedded, categories are one-hot or embedded.

    Of two levels one becomes -1 and the other 1; a level that is not known is 0 in every column, and has an
    embedding that begins at 0.
    A text is the mean of the embeddings of its tokens or n-grams, an image next to other inputs the vector of a few
    convolutions; an image alone is flattened.
    """

    def __init__(
        self, spec: Spec, *, rngs: nnx.Rngs, embedding: Embedding = Embedding.NONE, frequency: float | None = None
    ) -> None:
        """Build the embeddings; ValueError for an input that is none of these."""
        self.embeddings, self.numbers, self.images = nnx.Dict({}), nnx.Dict({}), nnx.Dict({})
        self.features, size = tuple(spec.contents.items()), 0  # a tuple, since static parts of a module are hashed
        for name, feature in self.features:
            if feature.kind is Kind.CATEGORIES:
                for i, levels in enumerate(feature.levels):
                    if len(levels) > ONE_HOT:
                        self.embeddings[f"{name}_{i}"] = nnx.Param(
                            initializers.normal(1.0)(rngs.params(), (len(levels) + 1, EMBEDDED)).at[0].set(0)
                        )
                    size += width_of(len(levels))
            elif feature.kind is Kind.NUMBERS and embedding is not Embedding.NONE:
                self.numbers[name] = make_embedding(embedding, feature, frequency=frequency, rngs=rngs)
                size += self.numbers[name].size
            elif feature.kind is Kind.IMAGE and len(self.features) > 1:
                self.images[name] = Pixels(feature, rngs=rngs)
                size += Pixels.size
            elif feature.kind in NUMERIC or (feature.kind is Kind.CATEGORY and not feature.shape):
                size += feature.size if feature.kind in NUMERIC else len(feature.vocabulary)
            elif feature.kind in (Kind.TOKENS, Kind.NGRAMS):
                self.embeddings[name] = Bag(feature, TEXT, rngs=rngs, init=initializers.normal(0.1))
                size += TEXT
            else:
                raise ValueError(f"takes numbers, categories and texts, and {name} is {feature.kind.words}")
        if embedding is not Embedding.NONE and not self.numbers:
            raise ValueError(f"embedding={embedding}: embeds the columns of numbers of a table, and there are none")
        self.length = spec.find(Kind.LENGTH) if len(self.features) == 1 else None
        self.size = size

    def __call__(self, inputs: Any) -> Array:
        """Return the vectors, float [B, size], of an array [B, ...] or a dict of arrays."""
        parts = []
        for name, feature in self.features:
            values = inputs[name] if isinstance(inputs, Mapping) else inputs
            if feature.kind in (Kind.CATEGORIES, Kind.CATEGORY):
                parts += self.level_vectors(name, feature, values)
            elif feature.kind in (Kind.TOKENS, Kind.NGRAMS):
                parts.append(self.embeddings[name](values, inputs[self.length] if self.length else None))
            elif name in self.images:
                parts.append(self.images[name](values))
            else:
                flat = values.reshape(values.shape[0], -1)
                parts.append(self.numbers[name](flat) if name in self.numbers else flat)
        return jnp.concatenate(parts, 1)

    def level_vectors(self, name: str, feature: Feature, values: Array) -> list[Array]:
        """Return the embedding of each column's level, float [B, width] each; one-hot without an embedding."""
        if feature.kind is Kind.CATEGORY:
            return [jax.nn.one_hot(values, len(feature.vocabulary))]
        found = []
        for i, levels in enumerate(feature.levels):
            if len(levels) > ONE_HOT:
                found.append(self.embeddings[f"{name}_{i}"][values[:, i]])
            elif len(levels) == 2:
                found.append(jnp.asarray([0.0, -1.0, 1.0])[values[:, i]][:, None])
            else:
                found.append(jax.nn.one_hot(values[:, i] - 1, len(levels)))
        return found


def vector_of(
    spec: Spec, *, rngs: nnx.Rngs, embedding: Embedding = Embedding.NONE, frequency: float | None = None
) -> Vector | None:
    """Return the module that joins the inputs; None for a single array of numbers, which is only flattened."""
    if frequency is not None and embedding not in (Embedding.PLR, Embedding.PBLD):
        raise ValueError(
            f"frequency={frequency:g}: is for embedding=plr and pbld, not for {embedding}; set frequency=null"
        )
    alone = len(spec.inputs) == 1 and spec.shown.kind in NUMERIC and embedding is Embedding.NONE
    return None if alone else Vector(spec, rngs=rngs, embedding=embedding, frequency=frequency)


def size_of(vector: Vector | None, spec: Spec) -> int:
    """Return the length of the vectors."""
    return vector.size if vector else spec.input.size


def joined(vector: Vector | None, inputs: Any) -> Array:
    """Return the inputs as vectors, [B, size]."""
    return vector(inputs) if vector else inputs.reshape(inputs.shape[0], -1)


def width_of(levels: int) -> int:
    """Return how many numbers stand for a category."""
    return EMBEDDED if levels > ONE_HOT else 1 if levels == 2 else levels
