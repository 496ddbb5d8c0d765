"""Running means of the weights: how they are kept, and which weights are measured."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from dltrain.engine.carried import is_carried
from dltrain.types import Array

Tree = Any


def begin(params: Tree, rest: Tree) -> Tree:
    """Return the means of no update yet: copies, in float32."""
    return jax.tree.map(_copied, {"params": params, "rest": rest})


def _copied(x: Array) -> Array:
    return jnp.array(x, jnp.float32 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype, copy=True)


def after(ema: Tree, params: Tree, rest: Tree, *, decay: float, count: Array) -> Tree:
    """Take in the weights that update number `count` (from 1) led to; batch statistics, too, but no carried rows.

    The result is the mean of all weights so far, those of i updates ago weighted by decay^i: the bias towards the
    initial values, which Adam divides out, does not come in, since the first update's share is 1.
    """

    def inverse(count: Array) -> Array:  # 1 - decay^count, without cancellation
        return -jnp.expm1(count.astype(jnp.float32) * math.log(decay))

    share = (1 - decay) / inverse(count)

    def one(path: tuple[Any, ...], mean: Array, new: Array) -> Array:
        if is_carried(path) or not jnp.issubdtype(mean.dtype, jnp.floating):
            return new.astype(mean.dtype)
        return mean + share.astype(mean.dtype) * (new.astype(mean.dtype) - mean)

    return jax.tree_util.tree_map_with_path(one, ema, {"params": params, "rest": rest})


def measured(params: Tree, rest: Tree, opt_state: Tree, ema: Tree) -> tuple[Tree, Tree]:
    """Return (params, rest) as they are evaluated: the means, where any are kept, else what is trained itself."""
    if ema:
        params, rest = jax.tree.map(
            lambda mean, raw: mean.astype(raw.dtype), (ema["params"], ema["rest"]), (params, rest)
        )
        return params, rest
    mixed = schedule_free_state(opt_state)
    if mixed is None:
        return params, rest
    found = optax.contrib.schedule_free_eval_params(mixed, params)
    return jax.tree.map(lambda mean, raw: mean.astype(raw.dtype), found, params), rest


def schedule_free_state(opt_state: Tree) -> Any:
    """Find the state of `schedule_free` among those of an optimizer's parts."""
    kind = optax.contrib.ScheduleFreeState
    states = jax.tree.leaves(opt_state, is_leaf=lambda part: isinstance(part, kind))
    return next((part for part in states if isinstance(part, kind)), None)
