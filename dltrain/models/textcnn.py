"""A convolutional network over the tokens of a text."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import Dropout
from dltrain.models.steps import Embedding, Names
from dltrain.ops.conv import conv_general_dilated
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.tasks import Level
from dltrain.types import Activation, Array, Initializer, Kind, Spec


class TextCNN(nnx.Module):
    """Tokens [B, L] -> [B, outputs].

    `c_w = max over t of f(W_w [x_t .. x_(t+w-1)] + b_w)` for several widths w, and the outputs are linear in all
    c_w (Kim 2014, arXiv:1408.5882). As in Kim's code, zeros surround a text, so that each window with one of its
    tokens or more counts, and no other.
    """

    def __init__(
        self,
        filters: Size = 100,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        widths: tuple[Size, ...] = (3, 4, 5),
        embedding: Size = 128,
        embedding_dropout: Traced[BelowOne] = 0.0,
        dropout: Traced[BelowOne] = 0.5,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = initializers.he_normal(),
        embedding_init: Initializer = initializers.normal(0.1),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            filters: filters of each width.
            spec: features and task of the data; texts with one target each.
            rngs: for the initial values.
            widths: tokens that a filter sees.
            embedding: size of a token embedding.
            embedding_dropout: probability of dropping a number of a token embedding.
            dropout: probability of dropping a filter's maximum before the output.
            activation: after the filters.
            kernel_init: initial filters.
            embedding_init: initial token embeddings.
            head_init: initial weights of the output.
            bias_init: initial biases.
        """
        if spec.input.kind is not Kind.TOKENS or spec.task.level is not Level.EXAMPLE:
            hint = "; choose data.tokens=words" if spec.input.kind is Kind.NGRAMS else ""
            raise ValueError(
                "needs texts as tokens with one target per example, but this data is "
                f"{spec.input.kind.words} for {spec.task}{hint}"
            )
        if not widths:
            raise ValueError("widths=[]: needs at least one width; the usual ones are widths=[3,4,5]")
        self.names = Names.of(spec)
        self.embedding = Embedding(len(spec.input.vocabulary), embedding, rngs=rngs, init=embedding_init)
        self.filters = nnx.List(
            [
                nnx.Conv(
                    embedding,
                    filters,
                    (width, 1),
                    padding=((width - 1, width - 1), (0, 0)),
                    conv_general_dilated=conv_general_dilated,
                    kernel_init=kernel_init,
                    bias_init=bias_init,
                    rngs=rngs,
                )
                for width in widths
            ]
        )
        self.embedding_dropout, self.dropout = Dropout(embedding_dropout), Dropout(dropout)
        self.head = nnx.Linear(
            filters * len(widths), spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs
        )
        self.widths, self.activation = tuple(widths), activation

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        del mask  # examples do not affect one another
        tokens, valid = self.names.read(inputs)
        x = self.embedding_dropout(self.embedding(tokens), rngs=rngs)
        if valid is not None:
            x = jnp.where(valid[..., None], x, 0)
        found = []
        for width, filters in zip(self.widths, self.filters, strict=True):
            seen = self.activation(filters(x[:, :, None])[:, :, 0])  # window t ends at token t, t < L + width - 1
            if valid is not None:
                inside = jnp.pad(valid, ((0, 0), (width - 1, 0)), constant_values=True)
                seen = jnp.where(inside[..., None], seen, -jnp.inf)
            found.append(seen.max(1))
        return self.head(self.dropout(jnp.concatenate(found, -1), rngs=rngs))
