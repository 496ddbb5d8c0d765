"""TabM: an ensemble of multilayer perceptrons for tables, whose members share nearly all of their weights."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain.models.embeddings import Embedding
from dltrain.models.layers import Dropout
from dltrain.models.vector import joined, size_of, vector_of
from dltrain.ranges import BelowOne, Positive, Size, Traced
from dltrain.types import Activation, Array, Kind, Spec


class TabM(nnx.Module):
    """k multilayer perceptrons in one, [B, ...] -> [B, k, outputs].

    Each member scales the inputs of the first layer by factors of its own; with `mini=false`, also inputs and
    outputs of every layer (BatchEnsemble), and adds biases of its own. The heads have separate weights. The loss is
    the mean of the members' losses, and a prediction the mean of their predictions, of their probabilities for
    classes. Gorishniy, Kotelnikov and Babenko, TabM, arXiv:2410.24210.
    """

    members = True
    """Its outputs are those of several members; `build/objective.py` makes loss and predictions of them."""

    def __init__(
        self,
        widths: tuple[Size, ...] = (256, 256),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        k: Size = 32,
        mini: bool = True,
        embedding: Embedding = Embedding.PLE,
        frequency: Positive | None = None,
        activation: Activation = jax.nn.relu,
        dropout: Traced[BelowOne] = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            widths: units of each hidden layer.
            spec: features and task of the data.
            rngs: for the initial values.
            k: number of members.
            mini: factors before the first layer only.
            embedding: embedding of the columns of numbers; left out where there are none.
            frequency: initial deviation of the frequencies of plr and pbld; None: 0.01 and 0.1, as published.
            activation: between the layers.
            dropout: probability of dropping a hidden unit.
        """
        if not any(feature.kind is Kind.NUMBERS for feature in spec.inputs.values()):
            embedding = Embedding.NONE
        self.vector = vector_of(spec, rngs=rngs, embedding=embedding, frequency=frequency)
        sizes = (size_of(self.vector, spec), *widths)
        self.scale = nnx.Param(_first_scale(k, sizes[0], normal=embedding is not Embedding.NONE, rngs=rngs))
        self.hidden = nnx.List(
            [EnsembleLinear(a, b, k, mini=mini, first=i == 0, rngs=rngs) for i, (a, b) in _layers(sizes)]
        )
        self.dropout = Dropout(dropout)
        self.head = Heads(sizes[-1], spec.outputs, k, rngs=rngs)
        self.activation = activation

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs of all members, float [B, k, outputs]."""
        del mask
        x = joined(self.vector, inputs)[:, None] * self.scale[...][None]
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)), rngs=rngs)
        return self.head(x)


class Heads(nnx.Module):
    """A linear layer for each member, [B, k, n] -> [B, k, m]."""

    def __init__(self, size: int, out: int, k: int, *, rngs: nnx.Rngs) -> None:
        """Draw the weights."""
        self.kernel = nnx.Param(_uniform(rngs, (k, size, out), size))
        self.bias = nnx.Param(_uniform(rngs, (k, out), size))

    def __call__(self, x: Array) -> Array:
        """Apply the layers."""
        return jnp.einsum("bki,kio->bko", x, self.kernel[...]) + self.bias[...][None]


class EnsembleLinear(nnx.Module):
    """A linear layer of k members: `((x ∘ r) W) ∘ s + b`, [B, k, n] -> [B, k, m]; `mini` has one b, and no r and s.

    The first layer has no r of its own, since the model scales its inputs. r and s begin at 1. Wen, Tran and Ba,
    BatchEnsemble, arXiv:2002.06715.
    """

    def __init__(self, size: int, out: int, k: int, *, mini: bool, first: bool, rngs: nnx.Rngs) -> None:
        """Draw the weights."""
        self.kernel = nnx.Param(_uniform(rngs, (size, out), size))
        bias = _uniform(rngs, (out,), size)
        self.bias = nnx.Param(bias if mini else jnp.tile(bias[None], (k, 1)))
        if not mini:
            self.scale_out = nnx.Param(jnp.ones((k, out)))
            if not first:
                self.scale_in = nnx.Param(jnp.ones((k, size)))
        self.mini, self.first = mini, first

    def __call__(self, x: Array) -> Array:
        """Apply the layer to the inputs of each member."""
        if self.mini:
            return x @ self.kernel[...] + self.bias[...][None, None]
        x = x if self.first else x * self.scale_in[...][None]
        return (x @ self.kernel[...]) * self.scale_out[...][None] + self.bias[...][None]


def _layers(sizes: tuple[int, ...]) -> Any:
    return enumerate(itertools.pairwise(sizes))


def _first_scale(k: int, size: int, *, normal: bool, rngs: nnx.Rngs) -> Array:
    """Draw the factors that make the members differ: random signs, or normal numbers where numbers are embedded."""
    shape = (k, size)
    key = rngs.params()
    return jax.random.normal(key, shape) if normal else jax.random.rademacher(key, shape, jnp.float32)


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], size: int) -> Array:
    """Draw weights as torch.nn.Linear does: uniform in ± 1 / sqrt(inputs)."""
    bound = size**-0.5
    return jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound)
