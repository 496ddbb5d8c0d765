"""RealMLP: a multilayer perceptron for tables with well-chosen defaults."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import activations
from dltrain.models.embeddings import Embedding
from dltrain.models.layers import CurvedDropout
from dltrain.models.vector import joined, size_of, vector_of
from dltrain.ranges import BelowOne, Positive, Size, Traced
from dltrain.types import Activation, Array, Kind, Spec


class RealMLP(nnx.Module):
    """A scale per input, then layers `x W / sqrt(n) + b` with parametric activations, [B, ...] -> [B, outputs].

    Holzmüller, Grinsztajn and Steinwart, Better by Default, arXiv:2407.04491 (RealMLP-TD). The optimizer's part of
    the defaults (learning rates of parameters, schedules, label smoothing) is the recipe `table`. Initial weights
    and biases are standard normal, and those of the last layer 0, as in the paper's simplified form TD-S: the
    initialisation of TD needs a pass over the data.
    """

    def __init__(
        self,
        widths: tuple[Size, ...] = (256, 256, 256),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        embedding: Embedding = Embedding.PBLD,
        frequency: Positive | None = None,
        activation: Activation | None = None,
        dropout: Traced[BelowOne] = 0.15,
        dropout_schedule: Literal["constant", "flat_cosine"] = "flat_cosine",
    ) -> None:
        """Build the layers.

        Args:
            widths: units of each hidden layer; empty for none.
            spec: features and task of the data.
            rngs: for the initial values.
            embedding: embedding of the columns of numbers; left out where there are none.
            frequency: initial deviation of the frequencies of plr and pbld; None: 0.01 and 0.1, as published.
            activation: f in `z + a (f(z) - z)`, with a learned for each unit; None: selu for classes, mish for
                numbers.
            dropout: probability of dropping a hidden unit, in the first half of training.
            dropout_schedule: flat_cosine lets it fall to 0 in the second half.
        """
        if not any(feature.kind is Kind.NUMBERS for feature in spec.inputs.values()):
            embedding = Embedding.NONE
        self.vector = vector_of(spec, rngs=rngs, embedding=embedding, frequency=frequency)
        sizes = (size_of(self.vector, spec), *widths)
        self.front = Scale(sizes[0])
        self.hidden = nnx.List([NTKLinear(a, b, rngs=rngs) for a, b in zip(sizes[:-1], widths, strict=True)])
        self.slopes = nnx.List([nnx.Param(jnp.ones(width)) for width in widths])
        self.dropout = CurvedDropout(dropout, dropout_schedule)
        self.head = NTKLinear(sizes[-1], spec.outputs, rngs=rngs, zero=True)
        usual = activations.mish if spec.task.target_kind is Kind.NUMBERS else activations.selu
        self.activation = activation or usual

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs]."""
        del mask
        x = self.front(joined(self.vector, inputs))
        for layer, slope in zip(self.hidden, self.slopes, strict=True):
            z = layer(x)
            x = self.dropout(z + slope[...][None] * (self.activation(z) - z), rngs=rngs)
        return self.head(x)


class Scale(nnx.Module):
    """A learned factor for each input, 1 initially: [B, F] -> [B, F]."""

    def __init__(self, size: int) -> None:
        """Create the factors."""
        self.scale = nnx.Param(jnp.ones(size))

    def __call__(self, x: Array) -> Array:
        """Multiply."""
        return x * self.scale[...][None]


class NTKLinear(nnx.Module):
    """`x W / sqrt(n) + b`, [B, n] -> [B, m]: the neural tangent parametrisation, W and b standard normal or 0."""

    def __init__(self, size: int, out: int, *, rngs: nnx.Rngs, zero: bool = False) -> None:
        """Draw the weights, or set them to 0."""
        kernel, bias = jax.random.normal(rngs.params(), (size, out)), jax.random.normal(rngs.params(), (out,))
        self.kernel = nnx.Param(jnp.zeros_like(kernel) if zero else kernel)
        self.bias = nnx.Param(jnp.zeros_like(bias) if zero else bias)
        self.factor = size**-0.5

    def __call__(self, x: Array) -> Array:
        """Apply the map."""
        return (x * self.factor) @ self.kernel[...] + self.bias[...][None]
