"""Optimizers that use the curvature of the loss: for small problems, and full-batch training."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from dltrain.ranges import NonNegative, Positive, Size, Traced
from dltrain.types import Array

BACKTRACKS = 20  # halvings of the step that `newton` tries before it uses the last one


def lbfgs(
    learning_rate: Positive,
    memory_size: Size = 10,
    line_search_steps: Size = 20,
    minibatch: bool = False,
) -> optax.GradientTransformation:
    """Limited-memory BFGS with a line search for the strong Wolfe conditions. Liu, Nocedal 1989.

    Args:
        learning_rate: the first step length tried by the line search, as a factor of the quasi-Newton step.
        memory_size: stored pairs of steps and gradient differences.
        line_search_steps: evaluations per line search.
        minibatch: allow minibatches, although the differences of their gradients are mostly noise.
    """
    del minibatch
    search = optax.scale_by_zoom_linesearch(line_search_steps, initial_guess_strategy="one")
    return optax.lbfgs(learning_rate, memory_size, linesearch=search)


def newton(
    learning_rate: Positive,
    damping: Traced[NonNegative] = 1e-6,
    max_parameters: Size = 2000,
    minibatch: bool = False,
) -> optax.GradientTransformation:
    """Newton's method with the exact Hessian H = VΛVᵀ, damped: `w -= η V (|Λ| + λI)⁻¹ Vᵀ g`.

    Absolute eigenvalues make it descend from saddle points, too (Dauphin et al., arXiv:1406.2572); where the loss
    is convex it is `(H + λI)⁻¹ g`. A step that does not lower the loss enough (Armijo) is halved until it does.

    Args:
        learning_rate: the longest step, as a factor of the Newton step.
        damping: λ.
        max_parameters: the largest allowed number of parameters; time is cubic and memory quadratic in it.
        minibatch: as in `lbfgs`.
    """
    del minibatch
    search = optax.scale_by_backtracking_linesearch(BACKTRACKS, decrease_factor=0.5, increase_factor=jnp.inf)

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        grad_fn: Callable[..., optax.Updates],
        **search_arguments: Any,
    ) -> tuple[optax.Updates, Any]:
        point, unravel = ravel_pytree(params)
        if point.size > max_parameters:
            raise ValueError(
                f"optim=newton: the model has {point.size} parameters, more than "
                f"optim.max_parameters={max_parameters}; the exact Hessian is for small models: try optim=lbfgs"
            )
        gradient, restore = ravel_pytree(updates)
        wide = jnp.promote_types(point.dtype, jnp.float32)  # eigh does not support 16-bit types

        def slope(at: Array) -> Array:
            return ravel_pytree(grad_fn(unravel(at)))[0].astype(wide)

        values, vectors = jnp.linalg.eigh(jax.jacfwd(slope)(point.astype(wide)))
        within = vectors.T @ gradient.astype(wide)
        step = vectors @ (within / (jnp.abs(values) + damping))
        return search.update(restore(-learning_rate * step), state, params, **search_arguments)

    return optax.GradientTransformationExtraArgs(search.init, cast(optax.TransformUpdateExtraArgsFn, update))
