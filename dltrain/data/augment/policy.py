"""RandAugment: a few random operations per image, all of one strength."""

import functools
import operator
from typing import Annotated

import jax
import jax.numpy as jnp

from dltrain.data.augment.colour import blended, blurred, grey_of, mean_of
from dltrain.data.augment.geometry import moved
from dltrain.data.augment.inputs import UNSCALED, Border, black, movable
from dltrain.data.preprocess import Affine
from dltrain.ranges import Range
from dltrain.types import Array, Batch

STRONGEST = 30  # the magnitude with the strengths below
DEGREES = 30.0
SHEAR = 0.3  # columns per row, or rows per column
SHIFT = 0.45  # of the side of the image: 150 of 331 pixels
BLEND = 0.9  # factors 0.1 to 1.9

OPERATIONS = (
    "identity",
    "rotation",
    "shear_rows",
    "shear_columns",
    "shift_rows",
    "shift_columns",
    "brightness",
    "contrast",
    "sharpness",
    "saturation",
)


def randaugment(
    batch: Batch,
    key: Array,
    *,
    num_ops: Annotated[int, Range(1, 16)] = 2,
    magnitude: Annotated[float, Range(0, STRONGEST)] = 9.0,
    border: Border = Border.ZERO,
    scaled_by: Affine = UNSCALED,
) -> Batch:
    """Apply `num_ops` operations to each image, one after the other. Cubuk et al. 2019, arXiv:1909.13719.

    Each is drawn uniformly from: identity, rotation, shear and shift along both axes, brightness, contrast,
    sharpness, and for three channels saturation. The operations of the paper that use a histogram of 256 levels
    (autocontrast, equalize, posterize, solarize) are left out: inputs are floats of any range here.

    Args:
        batch: images.
        key: of the random draw.
        num_ops: number of operations per image (N in the paper).
        magnitude: strength, 0..30 (M in the paper); 30 rotates by 30 degrees. The sign is random.
        border: the values outside the image.
        scaled_by: the scaling of the inputs.
    """
    x = movable("randaugment", batch)
    choices = len(OPERATIONS) - (x.shape[-1] != 3)
    for layer in range(num_ops):
        which, sign = (jax.random.fold_in(jax.random.fold_in(key, layer), i) for i in (0, 1))
        drawn = jax.random.randint(which, (len(x),), 0, choices)
        strength = jax.random.rademacher(sign, (len(x),), x.dtype) * (magnitude / STRONGEST)
        x = operated(x, drawn, strength, border=border, scaled_by=scaled_by)
    return {**batch, "inputs": x}


def operated(x: Array, drawn: Array, strength: Array, *, border: Border, scaled_by: Affine) -> Array:
    """Apply to each example the operation with index `drawn`, int [B], with a strength of -1..1 [B]."""

    def of(*names: str) -> Array:
        found = functools.reduce(operator.or_, (drawn == OPERATIONS.index(name) for name in names))
        return found[:, None, None, None]

    def strong(name: str) -> Array:
        return jnp.where(drawn == OPERATIONS.index(name), strength, 0)

    outside = black(x, scaled_by)
    angle = jnp.deg2rad(DEGREES * strong("rotation"))
    c, s = jnp.cos(angle), jnp.sin(angle)
    rows = jnp.stack([c, s + SHEAR * strong("shear_rows")], -1)
    columns = jnp.stack([-s + SHEAR * strong("shear_columns"), c], -1)
    height, width = x.shape[1:3]
    offset = [SHIFT * height * strong("shift_rows"), SHIFT * width * strong("shift_columns")]
    turned = moved(x, jnp.stack([rows, columns], -2), jnp.stack(offset, -1), border=border, outside=outside)

    other = jnp.broadcast_to(outside, x.shape)
    other = jnp.where(of("contrast"), mean_of(x, scaled_by), other)
    other = jnp.where(of("sharpness"), blurred(x, jnp.ones(len(x), x.dtype), radius=1), other)
    if x.shape[-1] == 3:
        other = jnp.where(of("saturation"), grey_of(x, scaled_by), other)
    mixed = blended(other, x, 1 + BLEND * strength)

    still = of("brightness", "contrast", "sharpness", "saturation")
    return jnp.where(still, mixed, jnp.where(of("identity"), x, turned))
