"""A model without hidden layers: linear, logistic or softmax regression, depending on the loss."""

from typing import Any

from flax import nnx

from dltrain import initializers
from dltrain.models.embeddings import Embedding
from dltrain.models.vector import joined, size_of, vector_of
from dltrain.ranges import Positive
from dltrain.types import Array, Initializer, Spec


class Linear(nnx.Module):
    """One affine map of the flattened inputs, [B, ...] -> [B, outputs]."""

    def __init__(
        self,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        embedding: Embedding = Embedding.NONE,
        frequency: Positive | None = None,
        kernel_init: Initializer = initializers.zeros(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layer; it starts at zero by default, since the problem is convex."""
        self.vector = vector_of(spec, rngs=rngs, embedding=embedding, frequency=frequency)
        features = size_of(self.vector, spec)
        self.head = nnx.Linear(features, spec.outputs, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        del mask, rngs
        return self.head(joined(self.vector, inputs))
