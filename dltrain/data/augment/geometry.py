"""Geometric augmentation of images: flips, shifts, rotations, zooms.

Rotations and zooms interpolate each new pixel bilinearly in the old image (`resampled`).
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from dltrain.data.augment.inputs import UNSCALED, Border, black, check_at_most, check_rising, movable, uniform
from dltrain.data.preprocess import Affine
from dltrain.ranges import Count, Probability, Range
from dltrain.types import Array, Batch


def _flip(name: str, batch: Batch, key: Array, probability: float, axis: int) -> Batch:
    x = movable(name, batch)
    chosen = jax.random.bernoulli(key, probability, (len(x),))
    return {**batch, "inputs": jnp.where(chosen[:, None, None, None], jnp.flip(x, axis), x)}


def flip_horizontal(batch: Batch, key: Array, *, probability: Probability = 0.5) -> Batch:
    """Mirror left to right."""
    return _flip("flip_horizontal", batch, key, probability, 2)


def flip_vertical(batch: Batch, key: Array, *, probability: Probability = 0.5) -> Batch:
    """Mirror top to bottom."""
    return _flip("flip_vertical", batch, key, probability, 1)


def shift(
    batch: Batch, key: Array, *, pixels: Count = 4, border: Border = Border.ZERO, scaled_by: Affine = UNSCALED
) -> Batch:
    """Shift by -pixels..pixels along both axes: a random crop of an image padded by `pixels`."""
    x = movable("shift", batch)
    check_at_most("pixels", pixels, min(x.shape[1:3]) - 1)
    padded = _framed(x, pixels, border, black(x, scaled_by))
    corner = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)

    def crop(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), x.shape[1:])

    return {**batch, "inputs": jax.vmap(crop)(padded, corner)}


def _framed(x: Array, pixels: int, border: Border, outside: Array) -> Array:
    """Add a border to images; `outside` is its colour for `Border.ZERO`."""
    count, height, width, channels = x.shape
    if border is not Border.ZERO:
        return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=Border(border).value)
    frame = jnp.broadcast_to(outside, (count, height + 2 * pixels, width + 2 * pixels, channels))
    return jax.lax.dynamic_update_slice(frame, x, (0, pixels, pixels, 0))


def rotation(
    batch: Batch,
    key: Array,
    *,
    degrees: Annotated[float, Range(0, 360)] = 15.0,
    border: Border = Border.ZERO,
    scaled_by: Affine = UNSCALED,
) -> Batch:
    """Rotate about the centre by an angle of -degrees..degrees."""
    x = movable("rotation", batch)
    angle = uniform(key, x, -degrees, degrees)
    return {**batch, "inputs": rotated(x, angle, border=border, outside=black(x, scaled_by))}


def scaling(
    batch: Batch,
    key: Array,
    *,
    factors: Annotated[tuple[float, float], Range(0.05, 20)] = (0.8, 1.25),
    border: Border = Border.ZERO,
    scaled_by: Affine = UNSCALED,
) -> Batch:
    """Zoom about the centre, out below 1 and in above 1; the logarithm of the factor is uniform."""
    x = movable("scaling", batch)
    check_rising("factors", factors)
    factor = _between(key, x, factors)
    matrix = jnp.eye(2, dtype=x.dtype)[None] / factor[:, None, None]
    return {**batch, "inputs": moved(x, matrix, border=border, outside=black(x, scaled_by))}


def random_resized_crop(
    batch: Batch,
    key: Array,
    *,
    scale: Annotated[tuple[float, float], Range(0.001, 1)] = (0.5, 1.0),
    ratio: Annotated[tuple[float, float], Range(0.01, 100)] = (0.75, 1.3333),
) -> Batch:
    """Crop a box and resize it to the whole image. arXiv:1409.4842.

    Args:
        batch: images.
        key: of the random draw.
        scale: area of the box relative to the image (uniform).
        ratio: aspect ratio of the box relative to that of the image (its logarithm is uniform). A side is at most
            as long as that of the image.
    """
    x = movable("random_resized_crop", batch)
    check_rising("scale", scale)
    check_rising("ratio", ratio)
    keys = [jax.random.fold_in(key, i) for i in range(4)]
    share, stretch = uniform(keys[0], x, *scale), _between(keys[1], x, ratio)
    sides = (jnp.sqrt(share / stretch), jnp.sqrt(share * stretch))
    sides = [jnp.minimum(side, 1) * length for side, length in zip(sides, x.shape[1:3], strict=True)]
    return {
        **batch,
        "inputs": cropped(x, [_box(k, s, n) for k, s, n in zip(keys[2:], sides, x.shape[1:3], strict=True)]),
    }


def _box(key: Array, side: Array, length: int) -> tuple[Array, Array]:
    """Draw the start of a box inside 0..length: (start, side), [B] each."""
    return jax.random.uniform(key, side.shape, side.dtype) * (length - side), side


def _between(key: Array, x: Array, bounds: tuple[float, float]) -> Array:
    """Draw a positive value per example, [B], whose logarithm is uniform."""
    low, high = bounds
    return low * jnp.exp(uniform(key, x, 0, math.log(high / low)))


def cropped(x: Array, boxes: list[tuple[Array, Array]]) -> Array:
    """Resize boxes to the size of the image; start and side [B] along rows and columns, in pixels."""
    at = []
    for axis, (begin, side) in enumerate(boxes):
        length = x.shape[axis + 1]
        middles = (jnp.arange(length, dtype=x.dtype) + 0.5) / length
        places = begin[:, None] + middles[None, :] * side[:, None] - 0.5
        at.append(places[:, :, None] if axis == 0 else places[:, None, :])
    return resampled(x, at[0], at[1], border=Border.EDGE, outside=jnp.zeros((1, 1, 1, 1), x.dtype))


def rotated(x: Array, degrees: Array, *, border: Border, outside: Array) -> Array:
    """Rotate each image anticlockwise by these degrees [B]."""
    angle = jnp.deg2rad(degrees)
    c, s = jnp.cos(angle), jnp.sin(angle)
    return moved(x, jnp.stack([jnp.stack([c, s], -1), jnp.stack([-s, c], -1)], -2), border=border, outside=outside)


def moved(x: Array, matrix: Array, offset: Array | None = None, *, border: Border, outside: Array) -> Array:
    """Take each pixel from `matrix @ (row, column) + offset`, relative to the centre.

    Args:
        x: images [B, H, W, C].
        matrix: [B, 2, 2].
        offset: [B, 2], in pixels.
        border: the values outside the image.
        outside: the colour there, [1, 1, 1, C] or [1, 1, 1, 1], for `Border.ZERO`.
    """
    height, width = x.shape[1:3]
    middle = ((height - 1) / 2, (width - 1) / 2)
    rows = (jnp.arange(height, dtype=x.dtype) - middle[0])[None, :, None]
    columns = (jnp.arange(width, dtype=x.dtype) - middle[1])[None, None, :]
    at = []
    for i in (0, 1):
        a, b = (matrix[:, i, j][:, None, None] for j in (0, 1))
        begin = middle[i] if offset is None else (offset[:, i] + middle[i])[:, None, None]
        at.append(a * rows + b * columns + begin)
    return resampled(x, at[0], at[1], border=border, outside=outside)


def resampled(x: Array, rows: Array, columns: Array, *, border: Border, outside: Array) -> Array:
    """Interpolate images [B, H, W, C] at rows and columns, [B, H', W'] each -> [B, H', W', C].

    0 is the centre of the first pixel; an axis of rows or columns may be 1. Four lookups of whole pixels: on a CPU
    this is cheaper than drawing noise of the same size.
    """
    count, height, width, channels = x.shape
    padded = _framed(x, 1, Border.ZERO, outside)  # adds a pixel after the last
    row, down = _place(rows, height, border)
    column, right = _place(columns, width, border)
    flat = padded.reshape(-1, channels)
    first = jnp.arange(count, dtype=jnp.int32)[:, None, None] * ((height + 2) * (width + 2))

    def pixel(i: int, j: int) -> Array:
        return flat.at[first + (row + i) * (width + 2) + column + j].get(mode="clip")

    upper = (1 - right) * pixel(0, 0) + right * pixel(0, 1)
    lower = (1 - right) * pixel(1, 0) + right * pixel(1, 1)
    return (1 - down) * upper + down * lower


def _place(at: Array, length: int, border: Border) -> tuple[Array, Array]:
    """Return the pixel before each position, int32, in the padded image, and the fraction towards the next one."""
    if border is Border.ZERO:
        at = jnp.clip(at, -1, length)
    elif border is Border.EDGE:
        at = jnp.clip(at, 0, length - 1)
    else:
        period = max(2 * (length - 1), 1)
        at = jnp.mod(at, period)
        at = jnp.clip(jnp.minimum(at, period - at), 0, length - 1)
    before = jnp.clip(jnp.floor(at), -1, length - 1)
    return before.astype(jnp.int32) + 1, (at - before)[..., None]
