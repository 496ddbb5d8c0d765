"""The perceptron: one unit whose sign decides, or one per class, of which the largest score decides."""

from typing import Any

from flax import nnx

from dltrain import initializers
from dltrain.models.embeddings import Embedding
from dltrain.models.vector import joined, size_of, vector_of
from dltrain.ranges import Positive
from dltrain.types import Array, Initializer, Kind, Spec


class Perceptron(nnx.Module):
    """One affine map of the flattened inputs, [B, ...] -> scores [B, 1] of two classes, or [B, K].

    A score above 0 means the second of two classes; of K classes the largest score is predicted.
    With `loss=perceptron optim=sgd batch_size=1` it learns by Rosenblatt's rule (1958): a misclassified example
    adds η·y·x to the weights, others change nothing.
    """

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
        """Build the layer; it starts at zero by default, as in Rosenblatt's rule."""
        if spec.task.target_kind is Kind.NUMBERS:
            raise ValueError("needs classes as targets, but this data is a regression; try model=linear")
        self.vector = vector_of(spec, rngs=rngs, embedding=embedding, frequency=frequency)
        features = size_of(self.vector, spec)
        self.head = nnx.Linear(features, spec.outputs, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the scores, float [B, outputs]."""
        del mask, rngs
        return self.head(joined(self.vector, inputs))
