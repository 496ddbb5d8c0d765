"""The weights of another run as initial values (`init_from`)."""

from collections.abc import Mapping
from dataclasses import replace

import jax
import numpy as np
import optax.contrib

from dltrain.engine.state import TrainState, from_named, named_leaves
from dltrain.engine.stateful import is_recurrent_state
from dltrain.tree import path_name

_EMA = "ema."


def with_weights(state: TrainState, leaves: Mapping[str, np.ndarray]) -> tuple[TrainState, list[str], list[str]]:
    """Copy params and model_state from named leaves where name and shape agree: (state, taken, left).

    Recurrent state is in neither list: its examples are of another run.
    """
    current = {"params": state.params, "model_state": state.model_state}
    named = named_leaves(current)
    learned = [
        path_name(path)
        for path, _ in jax.tree_util.tree_flatten_with_path(current)[0]
        if not is_recurrent_state(path)
    ]
    taken = {n: leaves[n] for n in learned if n in leaves and leaves[n].shape == named[n].shape}
    both = from_named(current, {**jax.device_get(named), **taken}, what="the weights to start from")
    return replace(state, **both), list(taken), [n for n in learned if n not in taken]


def evaluated_leaves(leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the named arrays of a saved state with the weights to evaluate in place of the trained ones."""
    found = dict(leaves)
    for name in leaves:
        if name.startswith(_EMA) and name.removeprefix(_EMA) in leaves:
            raw = leaves[name.removeprefix(_EMA)]
            found[name.removeprefix(_EMA)] = leaves[name].astype(raw.dtype)
    states = (name.removesuffix("weight_sum") for name in leaves if name.endswith(".weight_sum"))
    mixed = next((above for above in states if f"{above}b1" in leaves), None)
    if mixed is None or any(name.startswith(_EMA) for name in leaves):
        return found
    below = f"{mixed}z."
    z = {f"params.{n.removeprefix(below)}": value for n, value in leaves.items() if n.startswith(below)}
    state = optax.contrib.ScheduleFreeState(leaves[f"{mixed}b1"], 0.0, 0, 0.0, (), z)
    averages = optax.contrib.schedule_free_eval_params(state, {name: leaves[name] for name in z})
    return found | {name: np.asarray(value, leaves[name].dtype) for name, value in averages.items()}
