"""Checks of the inputs and options of augmentations, and values per example that broadcast over a batch."""

from enum import StrEnum

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.data.preprocess import Affine
from dltrain.types import Array, Batch

UNSCALED = Affine(np.zeros(1, np.float32), np.ones(1, np.float32))
"""The scaling of unscaled inputs: the identity."""


class Border(StrEnum):
    """The values outside the image."""

    ZERO = "constant"  # 0 in the units of the data, which is black
    EDGE = "edge"  # the outermost pixels, repeated
    REFLECT = "reflect"


def floats(name: str, batch: Batch) -> Array:
    """Return the inputs, float [B, ...], or raise ValueError."""
    x = batch["inputs"]
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} needs float inputs; found {_found(x)}")
    return x


def images(name: str, batch: Batch) -> Array:
    """Return the inputs, float [B, H, W, C], or raise ValueError."""
    x = batch["inputs"]
    if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} needs images, float [B, H, W, C]; found {_found(x)}")
    return x


def movable(name: str, batch: Batch) -> Array:
    """Return the inputs, float [B, H, W, C], or raise ValueError, also if the targets would have to move, too."""
    x = images(name, batch)
    _check_still(name, batch)
    return x


def _check_still(name: str, batch: Batch) -> None:
    targets = batch.get("targets")
    if targets is not None and targets.ndim > 2:
        raise ValueError(
            f"{name} moves the content of the inputs, but not of the targets {_found(targets)}; "
            "use noise, brightness, contrast, saturation, hue, blur, cutout or masking"
        )


def colours(name: str, batch: Batch) -> Array:
    """Return the inputs, float [B, H, W, 3], or raise ValueError."""
    x = images(name, batch)
    if x.shape[-1] != 3:
        raise ValueError(f"{name} needs red, green and blue, float [B, H, W, 3]; found {_found(x)}")
    return x


def sequences(name: str, batch: Batch, *, moves: bool = False) -> Array:
    """Return the inputs, float [B, L, F], or raise ValueError."""
    x = batch["inputs"]
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} needs sequences, float [B, L, F]; found {_found(x)}")
    if moves:
        _check_still(name, batch)
    return x


def lengths(batch: Batch) -> Array:
    """Return the number of valid steps of each sequence [B, L, F], int32 [B]."""
    count, steps = batch["inputs"].shape[:2]
    return jnp.asarray(batch.get("length", jnp.full(count, steps, jnp.int32))).astype(jnp.int32)


def _found(x: Array) -> str:
    return f"{x.dtype}{list(x.shape)}"


def check_at_most(name: str, value: int, most: int) -> None:
    """Raise if a value is larger than the inputs allow."""
    if value > most:
        raise ValueError(f"{name}={value}: must be at most {most} for inputs of this size")


def check_rising(name: str, pair: tuple[float, float]) -> None:
    """Raise unless two values are in ascending order."""
    if not pair[0] <= pair[1]:
        raise ValueError(f"{name}=[{pair[0]:g}, {pair[1]:g}]: the first value must not exceed the second")


def each(values: Array, x: Array) -> Array:
    """Reshape [B] to [B, 1, ...], which broadcasts with x, in its dtype."""
    return values.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))


def black(x: Array, scaled_by: Affine) -> Array:
    """Return 0 in the units of the data, scaled: [1, ..., 1, C], which broadcasts with x."""
    return scaled_by.forward(jnp.zeros((1,) * x.ndim, x.dtype))


def uniform(key: Array, x: Array, low: float, high: float) -> Array:
    """Draw a value of low..high per example, [B], in the dtype of x."""
    return jax.random.uniform(key, (len(x),), x.dtype, low, high)
