"""Several steps per dispatch: up to K steps in one compiled loop with a run-time length."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dltrain.engine.state import TrainState
from dltrain.engine.step import Logs
from dltrain.types import Array

FEED_BYTES = 64 * 2**20
MOST_STEPS = 1024  # limits the size of the logs of a chunk
Pick = Callable[[Mapping[str, Array], Any, Array], Any]
"""(arrays that stay on the device, inputs of one dispatch, i) -> batch i, or what the step takes in its place."""


def capacity(batch_bytes: int) -> int:
    """Return K, the maximum number of steps of a chunk, whose inputs stay below 64 MiB."""
    return max(1, min(MOST_STEPS, FEED_BYTES // batch_bytes))


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Trace a function once for arguments of the same shapes: its shapes are asked for before it is called."""
    return jax.jit(function, inline=True)


def make_chunk(
    step: Callable[[TrainState, Any], tuple[TrainState, Logs]],
    pick: Pick,
    where: tuple[Any, Any] | None = None,
) -> Callable[[TrainState, Mapping[str, Array], Any, Array], tuple[TrainState, Logs]]:
    """Compile `(state, data, given [K, ...], n) -> (state, logs [K])`, which runs the first n <= K steps.

    n is an argument of the executable, so that chunks of any length run the same code, and splitting a run at any
    step changes no bit. The state is donated: it must not be read again. On several devices `where` has the
    shardings of the state and of the logs.
    """

    def chunk(state: TrainState, data: Mapping[str, Array], given: Any, n: Array) -> tuple[TrainState, Logs]:
        @traced_once
        def one(state: TrainState, i: Array) -> tuple[TrainState, Logs]:
            state, logs = step(state, pick(data, given, i))
            return state if where is None else jax.lax.with_sharding_constraint(state, where[0]), logs

        shapes = jax.eval_shape(one, state, n)[1]
        room = len(jax.tree.leaves(given)[0])
        logs = {name: jnp.zeros((room,), s.dtype) for name, s in shapes.items()}

        def go_on(carry: Any) -> Array:
            i, state, _ = carry
            return (i < n) & state.active

        def body(carry: Any) -> Any:
            i, state, logs = carry
            state, new = one(state, i)
            return i + 1, state, {name: logs[name].at[i].set(new[name]) for name in logs}

        _, state, logs = jax.lax.while_loop(go_on, body, (jnp.int32(0), state, logs))
        return state, logs

    return jax.jit(chunk, donate_argnums=0, out_shardings=where)
