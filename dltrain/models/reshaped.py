"""A model for vectors of outputs where the targets have more axes: forecasts of several steps, quantiles."""

from typing import Any

from flax import nnx

from dltrain.types import Array


class Reshaped(nnx.Module):
    """Brings the outputs of a model, [B, outputs], into the shape of the targets, [B, *shape].

    A model that returns this shape itself says so with `returns_shape = True`.
    """

    def __init__(self, model: nnx.Module, shape: tuple[int, ...]) -> None:
        """Wrap a model."""
        self.model, self.shape = model, shape

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, *shape], or [B, k, *shape] of k members."""
        outputs = self.model(inputs, mask=mask, rngs=rngs)
        members = outputs.shape[1:2] if getattr(self.model, "members", False) else ()
        return outputs.reshape(outputs.shape[0], *members, *self.shape)
