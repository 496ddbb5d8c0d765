"""One chunk for several runs: their states are stacked along a lane axis."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.engine.chunk import Pick, traced_once
from dltrain.engine.state import TrainState
from dltrain.engine.step import Logs
from dltrain.types import Array

LaneChunk = Callable[
    [tuple[TrainState, ...], Mapping[str, Array], tuple[Any, ...], np.ndarray], tuple[tuple[TrainState, ...], Logs]
]
"""(states of the lanes, data, their inputs, their steps, int32 [L]) -> (new states, logs, each [L, K])."""


def make_lane_chunk(step: Callable[[TrainState, Any], tuple[TrainState, Logs]], pick: Pick) -> LaneChunk:
    """Compile a chunk of several lanes, each of which does its own number of steps.

    Each lane has inputs of its own, [K, ...], also where they are equal: lanes get out of step when a run is
    resumed, and one program for both cases keeps their bits. A lane whose steps are done, or whose state is not
    active, is left unchanged, and changes nothing in the others. The states are donated: they must not be read
    again.

    A lane does the arithmetic of `make_chunk`, but XLA sums products of several lanes in another order on most
    platforms. Its numbers are equal to rounding, not to the bit.
    """

    def chunk(
        states: tuple[TrainState, ...], data: Mapping[str, Array], given: tuple[Any, ...], counts: Array
    ) -> tuple[tuple[TrainState, ...], Logs]:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        inputs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
        lanes, room = len(states), len(jax.tree.leaves(given)[0])

        def one(state: TrainState, given: Any, count: Array, i: Array) -> tuple[TrainState, Logs]:
            waiting = i >= count
            new, logs = step(replace(state, active=state.active & ~waiting), pick(data, given, i))
            return replace(new, active=jnp.where(waiting, state.active, new.active)), logs

        all_lanes = traced_once(jax.vmap(one, in_axes=(0, 0, 0, None)))
        shapes = jax.eval_shape(all_lanes, stacked, inputs, counts, jnp.int32(0))[1]
        logs = {name: jnp.zeros((lanes, room), s.dtype) for name, s in shapes.items()}

        def go_on(carry: Any) -> Array:
            i, states, _ = carry
            return ((i < counts) & states.active).any()

        def body(carry: Any) -> Any:
            i, states, logs = carry
            states, new = all_lanes(states, inputs, counts, i)
            return i + 1, states, {name: logs[name].at[:, i].set(new[name]) for name in logs}

        _, stacked, logs = jax.lax.while_loop(go_on, body, (jnp.int32(0), stacked, logs))
        return tuple(jax.tree.map(lambda leaf, lane=lane: leaf[lane], stacked) for lane in range(lanes)), logs

    return jax.jit(chunk, donate_argnums=0)
