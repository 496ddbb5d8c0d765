"""Pieces that several families of models are made of."""

from enum import StrEnum

from flax import nnx

from dltrain.types import Array


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


def normalise(norm: nnx.BatchNorm | nnx.LayerNorm | None, x: Array, *, mask: Array | None) -> Array:
    """Apply it to x [B, ..., F]; rows whose mask [B] is False change nothing for the others."""
    if isinstance(norm, nnx.BatchNorm):
        return norm(x, mask=None if mask is None else mask.reshape(len(x), *(1,) * (x.ndim - 1)))
    return x if norm is None else norm(x)
