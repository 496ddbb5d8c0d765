"""Augmentation that covers part of an image, or mixes examples and their targets."""

from typing import Annotated

import jax
import jax.numpy as jnp

from dltrain.data.augment.inputs import each, floats, images, movable
from dltrain.ranges import Finite, Range, Size
from dltrain.types import Array, Batch, Spec

Concentration = Annotated[float, Range(above=0, high=1000)]
"""Of a Beta distribution: 1 is uniform, small values are near 0 or 1, large ones near 1/2."""


def _boxes(key: Array, shape: tuple[int, ...], height: Array, width: Array) -> Array:
    """Draw boxes [B, H, W] (bool) of these sizes [B] with centres anywhere in the image, clipped at its border."""
    rows, columns = (jax.random.randint(jax.random.fold_in(key, i), (shape[0],), 0, shape[i + 1]) for i in (0, 1))

    def between(centre: Array, size: Array, length: int) -> Array:
        start = (centre - size // 2)[:, None]
        at = jnp.arange(length, dtype=jnp.int32)[None, :]
        return (at >= start) & (at < start + size[:, None])

    return between(rows, height, shape[1])[:, :, None] & between(columns, width, shape[2])[:, None, :]


def cutout(batch: Batch, key: Array, *, size: Size = 8, fill: Finite = 0.0) -> Batch:
    """Cover a square of `size` pixels with `fill`; it may cross the border. arXiv:1708.04552."""
    x = images("cutout", batch)
    sizes = jnp.full(len(x), size, jnp.int32)
    covered = _boxes(key, x.shape, sizes, sizes)
    return {**batch, "inputs": jnp.where(covered[..., None], jnp.asarray(fill, x.dtype), x)}


def mixup(batch: Batch, key: Array, *, alpha: Concentration = 0.2, spec: Spec) -> Batch:
    """Mix examples and targets in pairs, `λx + (1-λ)x'`, λ ~ Beta(alpha, alpha). arXiv:1710.09412.

    Targets become probabilities float [B, K] ([B] for a binary task). Each example has its own λ.
    """
    x = floats("mixup", batch)
    partner, paired = _partners(jax.random.fold_in(key, 0), batch)
    share = jnp.where(paired, jax.random.beta(jax.random.fold_in(key, 1), alpha, alpha, (len(x),)), 1)
    mixed = each(share, x) * x + each(1 - share, x) * x[partner]
    return {**batch, "inputs": mixed, "targets": _mixed_targets(batch, partner, share, spec)}


def cutmix(batch: Batch, key: Array, *, alpha: Concentration = 1.0, spec: Spec) -> Batch:
    """Paste a box from another image, targets mixed by area, λ ~ Beta(alpha, alpha). arXiv:1905.04899."""
    x = movable("cutmix", batch)
    partner, paired = _partners(jax.random.fold_in(key, 0), batch)
    side = jnp.sqrt(1 - jax.random.beta(jax.random.fold_in(key, 1), alpha, alpha, (len(x),)))
    height, width = ((side * length).astype(jnp.int32) for length in x.shape[1:3])
    box = _boxes(jax.random.fold_in(key, 2), x.shape, height, width) & paired[:, None, None]
    share = 1 - box.mean(axis=(1, 2))
    pasted = jnp.where(box[..., None], x[partner], x)
    return {**batch, "inputs": pasted, "targets": _mixed_targets(batch, partner, share, spec)}


def _partners(key: Array, batch: Batch) -> tuple[Array, Array]:
    """Return a partner for each example, int [B], and whether both are valid."""
    mask = jnp.asarray(batch["mask"]).astype(bool)
    partner = jax.random.permutation(key, len(mask))
    return partner, mask & mask[partner]


def _mixed_targets(batch: Batch, partner: Array, share: Array, spec: Spec) -> Array:
    targets = probabilities(batch["targets"], share.dtype, spec)
    return each(share, targets) * targets + each(1 - share, targets) * targets[partner]


def probabilities(targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
    """Return targets as probabilities: classes int [B] -> float [B, K] ([B] for binary); floats are unchanged."""
    targets = jnp.asarray(targets)
    if jnp.issubdtype(targets.dtype, jnp.floating):
        return targets
    return spec.task.soft_targets(targets, dtype, spec)
