"""Restricted Boltzmann machines, single or stacked: binary units, trained by contrastive divergence.

Hinton 2002 (contrastive divergence); Hinton, Osindero and Teh 2006 (stacks, trained layer by layer).
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.ranges import Size
from dltrain.types import Array, Initializer, Spec


class RBM(nnx.Module):
    """Energies and reconstructions of examples in [0, 1], [B, ...]; of several layers only the last one is trained.

    A stack is trained from the bottom up; each run starts from the weights of the one before:
    `model.widths=[256]`, then `model.widths=[256,128] init_from=RUN`. The layers are named like those of an
    MLP (`hidden.0`, ...), which can start from all of them (`model=mlp model.activation=sigmoid init_from=RUN`).
    Weight decay would change the lower layers, too: freeze them with `optim.rules`.
    """

    def __init__(
        self,
        widths: tuple[Size, ...] = (256,),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        k: Size = 1,
        draw_visible: bool = False,
        sweeps: Size = 500,
        kernel_init: Initializer = initializers.normal(0.01),
        bias_init: Initializer = initializers.zeros(),
        visible_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the layers.

        Args:
            widths: hidden units of each layer.
            spec: features and task of the data.
            rngs: for the initial values.
            k: Gibbs steps from a training example to the end of the chain.
            draw_visible: sample the visible units in training, too, those of the example first: the exact form, for
                binary data. Otherwise their probabilities are used, which suits grey images (Hinton 2010,
                section 3.2).
            sweeps: Gibbs steps from noise to a sample.
            kernel_init: initial weights.
            bias_init: initial biases of the hidden units.
            visible_init: initial biases of the visible units.
        """
        if not widths:
            raise ValueError("widths=[]: at least one layer is needed")
        sizes = (spec.input.size, *widths)
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.hidden = nnx.List([nnx.Linear(a, b, **init) for a, b in itertools.pairwise(sizes)])
        self.visible = nnx.List([nnx.Param(visible_init(rngs.params(), (size,))) for size in sizes[:-1]])
        self.k, self.draw_visible, self.sweeps, self.shape = k, draw_visible, sweeps, spec.input.shape

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> dict[str, Array]:
        """Return the free energies [B] of `data` and `model` (the end of the chain), and `reconstruction` [B, ...].

        Without `rngs` the chain is the mean field: probabilities instead of sampled units.
        """
        del mask
        v = inputs.reshape(inputs.shape[0], -1)
        for below in range(len(self.hidden) - 1):
            v = jax.nn.sigmoid(self.hidden[below](v))
        visible_rngs = rngs if self.draw_visible else None
        v = jax.lax.stop_gradient(_sampled(v, visible_rngs))
        end = p = v
        for _ in range(self.k if rngs else 1):
            h = jax.nn.sigmoid(self.hidden[-1](end))
            p = self._down(_sampled(h, rngs), -1)
            end = _sampled(p, visible_rngs)
        data, model = self.free_energy(v), self.free_energy(jax.lax.stop_gradient(end))
        return {"data": data, "model": model, "reconstruction": self._to_input(p).reshape(inputs.shape)}

    def free_energy(self, v: Array) -> Array:
        """`F(v) = -b·v - Σ_j softplus(c_j + v·W_j)` of the last layer, [B, V] -> [B]; exp(-F) sums over all h."""
        wide = jax.nn.softplus(self.hidden[-1](v)).astype(jnp.float32).sum(-1)
        return -(v @ self.visible[-1][...]).astype(jnp.float32) - wide

    def sample(self, key: Array, count: int) -> Array:
        """Generate examples by Gibbs steps from noise, float [count, ...]: probabilities of the last step."""
        start, key = jax.random.split(key)
        h = jax.random.bernoulli(start, 0.5, (count, self.hidden[-1].out_features)).astype(jnp.float32)

        def sweep(i: Array, h: Array) -> Array:
            down, up = jax.random.split(jax.random.fold_in(key, i))
            v = jax.random.bernoulli(down, self._down(h, -1)).astype(h.dtype)
            return jax.random.bernoulli(up, jax.nn.sigmoid(self.hidden[-1](v))).astype(h.dtype)

        h = jax.lax.fori_loop(0, self.sweeps, sweep, h)
        return self._to_input(self._down(h, -1)).reshape(count, *self.shape)

    def _down(self, h: Array, layer: int) -> Array:
        """Return the probabilities of a layer's visible units, given its hidden ones."""
        return jax.nn.sigmoid(h @ self.hidden[layer].kernel[...].T + self.visible[layer][...].reshape(1, -1))

    def _to_input(self, p: Array) -> Array:
        for layer in reversed(range(len(self.hidden) - 1)):
            p = self._down(p, layer)
        return p


def _sampled(p: Array, rngs: nnx.Rngs | None) -> Array:
    return jax.random.bernoulli(rngs.dropout(), p).astype(p.dtype) if rngs else p
