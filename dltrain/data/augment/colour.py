"""Augmentation of pixel values: noise, brightness, colours, sharpness; positions do not change."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from dltrain.data.augment.inputs import UNSCALED, check_rising, colours, each, floats, images, uniform
from dltrain.data.preprocess import Affine
from dltrain.ranges import NonNegative, Probability, Range
from dltrain.types import Array, Batch

LUMA = (0.299, 0.587, 0.114)
"""Luma weights of red, green and blue (ITU-R BT.601)."""


def noise(batch: Batch, key: Array, *, stddev: NonNegative = 0.1) -> Batch:
    """Add Gaussian noise to inputs of any shape; `stddev` in the unit of the scaled inputs."""
    x = floats("noise", batch)
    return {**batch, "inputs": x + stddev * jax.random.normal(key, x.shape, x.dtype)}


def brightness(batch: Batch, key: Array, *, delta: NonNegative = 0.2) -> Batch:
    """Add one value from -delta..delta to the whole image, in the unit of the scaled inputs."""
    x = images("brightness", batch)
    return {**batch, "inputs": x + each(uniform(key, x, -delta, delta), x)}


def contrast(batch: Batch, key: Array, *, delta: Probability = 0.2, scaled_by: Affine = UNSCALED) -> Batch:
    """Scale the differences from the mean of the image, a grey, by a factor from 1-delta..1+delta."""
    x = images("contrast", batch)
    return {**batch, "inputs": blended(mean_of(x, scaled_by), x, uniform(key, x, 1 - delta, 1 + delta))}


def saturation(batch: Batch, key: Array, *, delta: Probability = 0.4, scaled_by: Affine = UNSCALED) -> Batch:
    """Scale the differences of colours from their grey by a factor from 1-delta..1+delta."""
    x = colours("saturation", batch)
    return {**batch, "inputs": blended(grey_of(x, scaled_by), x, uniform(key, x, 1 - delta, 1 + delta))}


def hue(batch: Batch, key: Array, *, turn: Probability = 0.05, scaled_by: Affine = UNSCALED) -> Batch:
    """Rotate the hue of all colours by -turn..turn; 1 is a full turn, 1/3 changes red to green."""
    x = colours("hue", batch)
    turned = hue_turned(scaled_by.inverse(x), uniform(key, x, -turn, turn))
    return {**batch, "inputs": scaled_by.forward(turned)}


def blur(batch: Batch, key: Array, *, sigma: Annotated[tuple[float, float], Range(0.01, 16)] = (0.1, 1.0)) -> Batch:
    """Blur with a Gaussian; its standard deviation is drawn from `sigma`, in pixels, its radius is 3 sigma[1]."""
    x = images("blur", batch)
    check_rising("sigma", sigma)
    return {**batch, "inputs": blurred(x, uniform(key, x, *sigma), radius=math.ceil(3 * sigma[1]))}


def blended(other: Array, x: Array, factor: Array) -> Array:
    """Return `other + factor·(x - other)`, with a factor per example [B]: 0 gives `other`, 1 gives x."""
    return other + each(factor, x) * (x - other)


def mean_of(x: Array, scaled_by: Affine) -> Array:
    """Return the mean over all channels, a grey in the units of the data: [B, 1, 1, C], scaled like x."""
    mean = scaled_by.inverse(x).mean(axis=(1, 2, 3), keepdims=True)
    return scaled_by.forward(jnp.broadcast_to(mean, (len(x), 1, 1, x.shape[-1])))


def grey_of(x: Array, scaled_by: Affine) -> Array:
    """Return the images in grey, [B, H, W, 3]; x and the result are scaled, luma is in the units of the data."""
    weights = jnp.asarray(LUMA, x.dtype).reshape(1, 1, 1, 3)
    grey = (scaled_by.inverse(x) * weights).sum(-1, keepdims=True)
    return scaled_by.forward(jnp.broadcast_to(grey, x.shape))


def hue_turned(rgb: Array, turn: Array) -> Array:
    """Rotate hues by full turns [B], at constant value and saturation (HSV); any range of values [B, H, W, 3]."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = rgb.max(-1)
    chroma = value - rgb.min(-1)
    safe = jnp.where(chroma > 0, chroma, 1)
    from_green, from_blue = 2 + (blue - red) / safe, 4 + (red - green) / safe
    # By index, not by `value == red`: a compiler may round the two differently, and then none is equal.
    largest = rgb.argmax(-1)
    sixth = jnp.where(largest == 0, (green - blue) / safe, jnp.where(largest == 1, from_green, from_blue))
    sixth = sixth + 6 * turn.astype(rgb.dtype)[:, None, None]
    # Smith's hexcone, one formula for each colour: value minus chroma times the distance of the hue from it.
    away = [jnp.mod(n + sixth, 6) for n in (5, 3, 1)]
    return jnp.stack([value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1) for k in away], -1)


def blurred(x: Array, sigma: Array, radius: int) -> Array:
    """Convolve rows and columns with Gaussians of standard deviations [B], truncated at `radius`; edges repeat."""
    at = jnp.arange(-radius, radius + 1, dtype=x.dtype)
    kernel = jnp.exp(-0.5 * jnp.square(at[None, :] / sigma[:, None]))
    kernel = kernel / kernel.sum(1, keepdims=True)
    for axis in (1, 2):
        sides = [(radius, radius) if i == axis else (0, 0) for i in range(4)]
        padded = jnp.pad(x, sides, mode="edge")
        moved = [jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(2 * radius + 1)]
        x = sum(
            (each(kernel[:, i], x) * part for i, part in enumerate(moved[1:], 1)), each(kernel[:, 0], x) * moved[0]
        )
    return x
