"""Maxout: a multilayer perceptron whose units take the maximum of several affine maps."""

import itertools
from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.embeddings import Embedding
from dltrain.models.layers import Dropout, Norm, make_norm, normalise, rematerialised
from dltrain.models.vector import joined, size_of, vector_of
from dltrain.ranges import BelowOne, Positive, Size, Traced
from dltrain.types import Array, Initializer, Spec


class Maxout(nnx.Module):
    """Hidden units `h_i = max_j (x·W_ij + b_ij)`, [B, ...] -> [B, outputs]. Goodfellow et al., arXiv:1302.4389."""

    def __init__(
        self,
        widths: tuple[Size, ...] = (128, 128),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        pieces: Size = 2,
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
            pieces: affine maps of each unit (k in the paper).
            embedding: embedding of the columns of numbers of a table.
            frequency: initial deviation of the frequencies of plr and pbld; None: 0.01 and 0.1, as published.
            dropout: probability of dropping a hidden unit.
            norm: of each affine map, before the maximum.
            kernel_init: initial weights.
            bias_init: initial biases.
            remat: recompute the values inside each hidden layer in the backward pass instead of storing them.
        """
        self.vector = vector_of(spec, rngs=rngs, embedding=embedding, frequency=frequency)
        sizes = (size_of(self.vector, spec), *widths)
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.hidden = nnx.List([nnx.Linear(a, pieces * b, **init) for a, b in itertools.pairwise(sizes)])
        self.norms = nnx.List([make_norm(norm, pieces * width, rngs=rngs) for width in widths])
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(sizes[-1], spec.outputs, **init)
        self.pieces, self.remat = pieces, remat

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        x = joined(self.vector, inputs)
        hidden = rematerialised(self._hidden, self.remat)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = hidden(layer, norm, self.dropout, x, mask, rngs)
        return self.head(x)

    def _hidden(self, layer: Any, norm: Any, dropout: Any, x: Array, mask: Any, rngs: Any) -> Array:
        x = normalise(norm, layer(x), mask=mask)
        x = x.reshape(x.shape[0], self.pieces, -1)
        # By index, not by value: the gradient of `max` compares with the maximum, which may round differently when
        # recomputed (remat, jax 0.12); then it equals none of the pieces, and the gradient is lost.
        first = x.argmax(1, keepdims=True)
        return dropout(jnp.take_along_axis(x, first, 1)[:, 0], rngs=rngs)
