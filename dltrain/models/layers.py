"""Layers and helpers that several families of models share."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain.ops.curves import flat_cosine
from dltrain.ops.transposed import conv_transpose
from dltrain.types import Array, Initializer, is_zero


class Norm(StrEnum):
    """Normalisation of a hidden layer."""

    NONE = "none"
    BATCH = "batch"
    LAYER = "layer"


def make_norm(norm: Norm, width: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm | nnx.LayerNorm | None:
    """Build the normalisation of a layer of this width, or None."""
    match norm:
        case Norm.BATCH:
            return nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        case Norm.LAYER:
            return nnx.LayerNorm(width, rngs=rngs)
        case Norm.NONE:
            return None


def rematerialised(block: Callable[..., Any], wanted: bool) -> Callable[..., Any]:
    """Store only the inputs of a block, to save memory, and recompute its values in the backward pass.

    Modules, arrays and rngs that the block uses must be its arguments (Chen et al. 2016). `wanted=False` returns
    the block unchanged.
    """
    return nnx.remat(lambda *given: block(*given)) if wanted else block  # nnx.remat does not take a bound method


def normalise(norm: nnx.BatchNorm | nnx.LayerNorm | None, x: Array, *, mask: Array | None) -> Array:
    """Normalise x [B, ..., F]; examples whose mask [B] is False do not affect the others."""
    if isinstance(norm, nnx.BatchNorm):  # it returns the dtype of its statistics, float32
        valid = None if mask is None else mask.reshape(x.shape[0], *(1,) * (x.ndim - 1))
        return norm(x, mask=valid).astype(x.dtype)
    return x if norm is None else norm(x)


class ConvTranspose(nnx.Module):
    """Transposed convolution with stride s, [B, H, W, C] -> [B, sH, sW, K]; see `ops.transposed`."""

    def __init__(
        self,
        depth: int,
        out: int,
        kernel: int,
        stride: int,
        *,
        kernel_init: Initializer,
        bias_init: Initializer,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the weights, from `depth` to `out` channels."""
        key = rngs.params()
        self.kernel = nnx.Param(kernel_init(key, (kernel, kernel, depth, out)))
        self.bias = nnx.Param(bias_init(jax.random.fold_in(key, 1), (out,)))
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        """Convolve and add the bias."""
        return conv_transpose(x, self.kernel[...], self.stride) + self.bias[...].reshape(1, 1, 1, -1)


class Dropout(nnx.Dropout):
    """Dropout whose rate may be a traced value, which must not be 0."""

    def __call__(self, inputs: Array, *, deterministic: bool | None = None, rngs: Any = None) -> Array:
        """Drop values and scale the others up; in evaluation, return the inputs."""
        rate: Any = self.rate
        if deterministic or self.deterministic or not isinstance(rate, jax.Array):
            return super().__call__(inputs, deterministic=deterministic, rngs=rngs)
        keep: Any = 1 - rate
        kept = jax.random.bernoulli(rngs.dropout(), keep, inputs.shape)
        return jnp.where(kept, inputs / keep.astype(inputs.dtype), jnp.zeros_like(inputs))


class CurvedDropout(nnx.Module):
    """Dropout whose rate may fall while training: `flat_cosine` keeps it for half of the run, then falls to 0."""

    def __init__(self, rate: float, schedule: str) -> None:
        """Set the rate, the probability of dropping a value, and `constant` or `flat_cosine`."""
        self.rate, self.schedule, self.deterministic = rate, schedule, False
        if schedule != "constant":
            self.progress = nnx.Variable(jnp.zeros(()))  # named types.PROGRESS: the engine sets it

    def __call__(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        """Drop values and scale the others up; in evaluation, return x."""
        if self.deterministic or rngs is None or is_zero(self.rate):
            return x
        factor = jnp.ones(()) if self.schedule == "constant" else flat_cosine(self.progress[...])
        keep = 1 - self.rate * factor.astype(jnp.float32)
        kept = jax.random.bernoulli(rngs.dropout(), keep, x.shape)
        return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros_like(x))
