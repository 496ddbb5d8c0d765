"""The exponential moving average (EMA) of the weights, and the weights used for evaluation."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from dltrain.engine.stateful import is_recurrent_state
from dltrain.tree import Tree
from dltrain.types import Array


def begin(params: Tree, model_state: Tree) -> Tree:
    """Return the initial averages: copies of the weights, in float32."""
    return jax.tree.map(_copied, {"params": params, "model_state": model_state})


def _copied(x: Array) -> Array:
    return jnp.array(x, jnp.float32 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype, copy=True)


def after(ema: Tree, params: Tree, model_state: Tree, *, decay: float | Array, count: Array) -> Tree:
    """Update the averages after update number `count` (from 1): weights and batch statistics, not recurrent state.

    The result is the mean of all weights so far, with weight decay^i for those i updates ago. There is no bias
    towards the initial values to correct, as in Adam, since the first update has weight 1.
    """
    log = jnp.log(decay) if isinstance(decay, Array) else math.log(decay)

    def inverse(count: Array) -> Array:  # 1 - decay^count, without cancellation
        return -jnp.expm1(count.astype(jnp.float32) * log)

    share = (1 - decay) / inverse(count)

    def one(path: tuple[Any, ...], mean: Array, new: Array) -> Array:
        if is_recurrent_state(path) or not jnp.issubdtype(mean.dtype, jnp.floating):
            return new.astype(mean.dtype)
        return mean + share.astype(mean.dtype) * (new.astype(mean.dtype) - mean)

    return jax.tree_util.tree_map_with_path(one, ema, {"params": params, "model_state": model_state})


def eval_params(params: Tree, model_state: Tree, opt_state: Tree, ema: Tree) -> tuple[Tree, Tree]:
    """Return the (params, model_state) to evaluate: the EMA if there is one, otherwise the trained weights."""
    if ema:
        params, model_state = jax.tree.map(
            lambda mean, raw: mean.astype(raw.dtype), (ema["params"], ema["model_state"]), (params, model_state)
        )
        return params, model_state
    mixed = schedule_free_state(opt_state)
    if mixed is None:
        return params, model_state
    found = optax.contrib.schedule_free_eval_params(mixed, params)
    return jax.tree.map(lambda mean, raw: mean.astype(raw.dtype), found, params), model_state


def schedule_free_state(opt_state: Tree) -> Any:
    """Return the state of `schedule_free` inside an optimizer state, or None."""
    kind = optax.contrib.ScheduleFreeState
    states = jax.tree.leaves(opt_state, is_leaf=lambda part: isinstance(part, kind))
    return next((part for part in states if isinstance(part, kind)), None)
