"""A linear model of the words and pairs of words in a text, in any order."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from dltrain import initializers
from dltrain.models.bag import Bag
from dltrain.models.layers import Dropout
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.tasks import Level
from dltrain.types import Array, Initializer, Kind, Spec


class BagOfNgrams(nnx.Module):
    """N-grams or tokens of a text, int [B, L] -> [B, outputs].

    The mean of their embeddings, and a linear map (fastText: Joulin et al. 2017, arXiv:1607.01759).
    """

    def __init__(
        self,
        embedding: Size = 16,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        dropout: Traced[BelowOne] = 0.0,
        embedding_init: Initializer = initializers.normal(0.02),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            embedding: size of an embedding.
            spec: features and task of the data; texts with one target each.
            rngs: for the initial values.
            dropout: probability of dropping a number of the mean.
            embedding_init: initial embeddings.
            head_init: initial weights of the output.
            bias_init: initial biases.
        """
        if spec.input.kind not in (Kind.NGRAMS, Kind.TOKENS) or spec.task.level is not Level.EXAMPLE:
            raise ValueError(
                f"needs texts with one target per example, but this data is {spec.input.kind.words} for {spec.task}"
            )
        self.name, self.length = spec.input_name, spec.find(Kind.LENGTH)
        self.bag = Bag(spec.input, embedding, rngs=rngs, init=embedding_init)
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(embedding, spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        del mask  # examples do not affect one another
        named = inputs if isinstance(inputs, Mapping) else {self.name: inputs}
        length = named[self.length] if self.length else None
        return self.head(self.dropout(self.bag(named[self.name], length), rngs=rngs))
