"""The multilayer perceptron: any depth, `a_l = f(W_l a_(l-1) + b_l)`."""

import itertools
from typing import Any

import jax
from flax import nnx

from dltrain import initializers
from dltrain.models.embeddings import Embedding
from dltrain.models.layers import Dropout, Norm, make_norm, normalise, rematerialised
from dltrain.models.vector import joined, size_of, vector_of
from dltrain.ranges import BelowOne, Positive, Size, Traced
from dltrain.types import Activation, Array, Initializer, Spec


class MLP(nnx.Module):
    """Affine maps with an activation between them, [B, ...] -> [B, outputs]."""

    def __init__(
        self,
        widths: tuple[Size, ...] = (128, 128),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        activation: Activation = jax.nn.relu,
        embedding: Embedding = Embedding.NONE,
        frequency: Positive | None = None,
        dropout: Traced[BelowOne] = 0.0,
        norm: Norm = Norm.NONE,
        kernel_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            widths: units of each hidden layer; empty for none.
            spec: features and task of the data.
            rngs: for the initial values.
            activation: between the layers.
            embedding: embedding of the columns of numbers of a table.
            frequency: initial deviation of the frequencies of plr and pbld; None: 0.01 and 0.1, as published.
            dropout: probability of dropping a hidden unit.
            norm: of each hidden layer, before the activation.
            kernel_init: initial weights.
            bias_init: initial biases.
            remat: recompute the values inside each hidden layer in the backward pass instead of storing them.
        """
        self.vector = vector_of(spec, rngs=rngs, embedding=embedding, frequency=frequency)
        sizes = (size_of(self.vector, spec), *widths)
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.hidden = nnx.List([nnx.Linear(a, b, **init) for a, b in itertools.pairwise(sizes)])
        self.norms = nnx.List([make_norm(norm, width, rngs=rngs) for width in widths])
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(sizes[-1], spec.outputs, **init)
        self.activation, self.remat = activation, remat

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        x = joined(self.vector, inputs)
        hidden = rematerialised(self._hidden, self.remat)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = hidden(layer, norm, self.dropout, x, mask, rngs)
        return self.head(x)

    def _hidden(self, layer: Any, norm: Any, dropout: Any, x: Array, mask: Any, rngs: Any) -> Array:
        return dropout(self.activation(normalise(norm, layer(x), mask=mask)), rngs=rngs)
