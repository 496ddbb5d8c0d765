"""Augmentation inside the step: `(batch, key, *, options) -> batch`, on the device, after the inputs are scaled.

Each row gets its own draw, from the key alone, so one seed gives one result. Images are float `[B, H, W, C]`. The
mask stays as it is, and no real row takes anything from a padding row.
"""

from enum import StrEnum

import jax
import jax.numpy as jnp

from dltrain.types import Array, Batch, Spec, Task

__all__ = [
    "Border",
    "brightness",
    "contrast",
    "cutmix",
    "cutout",
    "flip_horizontal",
    "flip_vertical",
    "mixup",
    "noise",
    "shift",
]


def _images(name: str, batch: Batch) -> Array:
    x = batch["inputs"]
    if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} needs images, float [B, H, W, C]; found {x.dtype}{list(x.shape)}")
    return x


def _each(values: Array, x: Array) -> Array:
    """[B] -> [B, 1, ...], to stand beside x, in its dtype."""
    return values.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))


def _flip(name: str, batch: Batch, key: Array, probability: float, axis: int) -> Batch:
    x = _images(name, batch)
    chosen = jax.random.bernoulli(key, probability, (len(x),))
    return {**batch, "inputs": jnp.where(chosen[:, None, None, None], jnp.flip(x, axis), x)}


def flip_horizontal(batch: Batch, key: Array, *, probability: float = 0.5) -> Batch:
    """Mirror left and right."""
    return _flip("flip_horizontal", batch, key, probability, 2)


def flip_vertical(batch: Batch, key: Array, *, probability: float = 0.5) -> Batch:
    """Mirror top and bottom."""
    return _flip("flip_vertical", batch, key, probability, 1)


class Border(StrEnum):
    """What comes in from outside the picture."""

    ZERO = "constant"
    EDGE = "edge"  # the outermost pixels again
    REFLECT = "reflect"


def shift(batch: Batch, key: Array, *, pixels: int = 4, border: Border = Border.ZERO) -> Batch:
    """Move by -pixels..pixels both ways: the random crop of a picture that was padded by `pixels`."""
    x = _images("shift", batch)
    padded = jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=Border(border).value)
    corner = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)

    def crop(picture: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(picture, (corner[0], corner[1], jnp.zeros_like(corner[0])), x.shape[1:])

    return {**batch, "inputs": jax.vmap(crop)(padded, corner)}


def noise(batch: Batch, key: Array, *, stddev: float = 0.1) -> Batch:
    """Add Gaussian noise to inputs of any shape; `stddev` in the unit of the scaled inputs."""
    x = batch["inputs"]
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"noise needs float inputs; found {x.dtype}")
    return {**batch, "inputs": x + stddev * jax.random.normal(key, x.shape, x.dtype)}


def brightness(batch: Batch, key: Array, *, delta: float = 0.2) -> Batch:
    """Add one number from -delta..delta to the whole picture, in the unit of the scaled inputs."""
    x = _images("brightness", batch)
    return {**batch, "inputs": x + _each(jax.random.uniform(key, (len(x),), minval=-delta, maxval=delta), x)}


def contrast(batch: Batch, key: Array, *, delta: float = 0.2) -> Batch:
    """Stretch the picture about its own mean by a factor from 1-delta..1+delta."""
    x = _images("contrast", batch)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    factor = jax.random.uniform(key, (len(x),), minval=1 - delta, maxval=1 + delta)
    return {**batch, "inputs": mean + _each(factor, x) * (x - mean)}


def _boxes(key: Array, shape: tuple[int, ...], height: Array, width: Array) -> Array:
    """Boxes [B, H, W] (bool) of these sizes [B] about centres anywhere in the picture, cut at its border."""
    rows, columns = (jax.random.randint(jax.random.fold_in(key, i), (shape[0],), 0, shape[i + 1]) for i in (0, 1))

    def between(centre: Array, size: Array, length: int) -> Array:
        start = (centre - size // 2)[:, None]
        at = jnp.arange(length, dtype=jnp.int32)[None, :]
        return (at >= start) & (at < start + size[:, None])

    return between(rows, height, shape[1])[:, :, None] & between(columns, width, shape[2])[:, None, :]


def cutout(batch: Batch, key: Array, *, size: int = 8, fill: float = 0.0) -> Batch:
    """Cover a square of `size` pixels with `fill`; it may hang over the border. arXiv:1708.04552."""
    x = _images("cutout", batch)
    sizes = jnp.full(len(x), size, jnp.int32)
    covered = _boxes(key, x.shape, sizes, sizes)
    return {**batch, "inputs": jnp.where(covered[..., None], jnp.asarray(fill, x.dtype), x)}


def mixup(batch: Batch, key: Array, *, alpha: float = 0.2, spec: Spec) -> Batch:
    """Mix each row and its target with another row's, `λx + (1-λ)x'`, λ ~ Beta(alpha, alpha). arXiv:1710.09412.

    Targets become probabilities float [B, K] ([B] for a binary task). Each row has a λ of its own.
    """
    x = batch["inputs"]
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"mixup needs float inputs; found {x.dtype}")
    partner, paired = _partners(jax.random.fold_in(key, 0), batch)
    share = jnp.where(paired, jax.random.beta(jax.random.fold_in(key, 1), alpha, alpha, (len(x),)), 1)
    mixed = _each(share, x) * x + _each(1 - share, x) * x[partner]
    return {**batch, "inputs": mixed, "targets": _mixed_targets(batch, partner, share, spec)}


def cutmix(batch: Batch, key: Array, *, alpha: float = 1.0, spec: Spec) -> Batch:
    """Paste a box of another row's picture, targets mixed by area, λ ~ Beta(alpha, alpha). arXiv:1905.04899."""
    x = _images("cutmix", batch)
    partner, paired = _partners(jax.random.fold_in(key, 0), batch)
    side = jnp.sqrt(1 - jax.random.beta(jax.random.fold_in(key, 1), alpha, alpha, (len(x),)))
    height, width = ((side * length).astype(jnp.int32) for length in x.shape[1:3])
    box = _boxes(jax.random.fold_in(key, 2), x.shape, height, width) & paired[:, None, None]
    share = 1 - box.mean(axis=(1, 2))
    pasted = jnp.where(box[..., None], x[partner], x)
    return {**batch, "inputs": pasted, "targets": _mixed_targets(batch, partner, share, spec)}


def _partners(key: Array, batch: Batch) -> tuple[Array, Array]:
    """Another row for each row, int [B], and whether both are real rows."""
    mask = jnp.asarray(batch["mask"]).astype(bool)
    partner = jax.random.permutation(key, len(mask))
    return partner, mask & mask[partner]


def _mixed_targets(batch: Batch, partner: Array, share: Array, spec: Spec) -> Array:
    targets = jnp.asarray(batch["targets"])
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        if spec.task is Task.CLASSIFICATION:
            targets = jax.nn.one_hot(targets, spec.outputs, dtype=share.dtype)
        else:
            targets = targets.astype(share.dtype)
    return _each(share, targets) * targets + _each(1 - share, targets) * targets[partner]
