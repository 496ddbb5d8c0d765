"""A transformer over patches of a time series."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.blocks import Block, Positions, apply_blocks, check_width
from dltrain.models.layers import Dropout
from dltrain.models.windows import WindowModel
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.types import Activation, Array, Initializer, Spec


class PatchTST(WindowModel):
    """A transformer whose tokens are patches of one column, shared by all (Nie et al. 2023, arXiv:2211.14730).

    The last value is repeated for one stride, overlapping patches are embedded, positions are learned, and one
    linear layer forecasts from the flattened states. Here with layer norm before each part instead of batch norm
    after it.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        rngs: nnx.Rngs,
        patch: Size = 16,
        stride: Size = 8,
        width: Size = 16,
        heads: Size = 4,
        feedforward: Size = 128,
        layers: Size = 3,
        dropout: Traced[BelowOne] = 0.3,
        revin: bool = True,
        activation: Activation = activations.gelu,
        embedding_init: Initializer | None = None,
        kernel_init: Initializer = initializers.glorot_uniform(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
    ) -> None:
        """Build the layers; the defaults are the paper's for ETTh1.

        Args:
            spec: description of the data.
            rngs: source of initial weights.
            patch: steps in a patch.
            stride: steps from the start of a patch to the start of the next.
            width: size of the state of a patch.
            heads: attention heads, which divide the width.
            feedforward: units of the dense layer in a block.
            layers: number of blocks.
            dropout: probability of dropping a unit.
            revin: normalise each window, and undo it in the forecast.
            activation: between the dense layers of a block.
            embedding_init: initial embeddings of positions; None: normal(0.02).
            kernel_init: initial weights.
            bias_init: initial biases.
            remat: recompute the values inside each block in the backward pass instead of storing them.
        """
        super().__init__(spec, revin=revin, rngs=rngs)
        check_width(width, heads, Positions.LEARNED)
        if self.look_back < patch:
            raise ValueError(f"patch={patch}: the window has only {self.look_back} rows; set data.look_back")
        self.patch, self.stride, self.remat = patch, stride, remat
        count = (self.look_back - patch) // stride + 2
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.embed = nnx.Linear(patch, width, **init)
        self.positions = nnx.Param((embedding_init or initializers.normal(0.02))(rngs.params(), (count, width)))
        self.drop = Dropout(dropout)
        options: dict[str, Any] = {"dropout": dropout, "activation": activation, **init}
        self.blocks = nnx.List([Block(width, heads, feedforward, **options) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(count * width, self.ahead, **init)

    def column(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Forecast each column, [B, T, L] -> [B, T, H * Q]."""
        batch, columns = x.shape[:2]
        x = x.reshape(batch * columns, -1)
        x = jnp.pad(x, ((0, 0), (0, self.stride)), mode="edge")
        count = len(self.positions)
        places = jnp.arange(count)[:, None] * self.stride + jnp.arange(self.patch)[None, :]
        states = self.drop(self.embed(x[:, places]) + self.positions[None], rngs=rngs)
        states, _ = apply_blocks(self.blocks, states, None, rngs, remat=self.remat)
        return self.head(self.norm(states).reshape(batch * columns, -1)).reshape(batch, columns, -1)
