"""The state of a training run: one pytree whose leaves are all arrays, its names, and its hash."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from dltrain.engine import averages
from dltrain.engine.stateful import fresh, is_recurrent_state
from dltrain.errors import CheckpointError
from dltrain.tree import Tree, path_name
from dltrain.types import Array

ROLLBACKS = 3
"""The maximum number of rollbacks of a run to a checkpoint, each of which leaves out a step."""

OptimizerFactory = Callable[[Mapping[str, Array]], optax.GradientTransformation]
"""hparams -> transformation; called inside the trace, so that hparams may be traced.

Of a step they also hold its number as `step`, for values that follow a schedule of their own."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that training changes or depends on.

    `step` counts the steps done, and `updates` those that changed the parameters: a step that was skipped or left
    out is not an update. Schedules and intervals count steps, the optimizer and the EMA count updates.
    `model_state` has the variables that are not trained (batch statistics).
    `hparams` has the values that a sweep may vary, the number of steps planned for schedules, and the `scale` to
    which a schedule that follows the monitored metric has reduced the learning rate. On a state that is not
    `active` a step is the identity. Steps whose number is in `left_out` are counted but change nothing.
    """

    step: Array  # int32 []
    updates: Array  # int32 [], at most `step`
    key: Array  # PRNG key []
    params: Tree
    model_state: Tree
    opt_state: Tree
    ema: Tree  # EMA of params and model_state, float32; {} without it
    hparams: dict[str, Array]
    active: Array  # bool []
    left_out: Array  # int32 [ROLLBACKS], numbers of steps counted from 1; 0 where there is none


@dataclass(frozen=True)
class Graphs:
    """The static part of a module in both modes, for the same params and model_state."""

    train: nnx.GraphDef
    eval: nnx.GraphDef
    numbers: Mapping[str, Array] = field(default_factory=dict)  # for the placeholders in `train`


def split_module(model: nnx.Module) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Split a module into (graphdef, params, model_state), the latter two as plain nested dicts of arrays."""
    graphdef, params, model_state = nnx.split(model, nnx.Param, ...)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(model_state)


def trace_module(make_model: Callable[[nnx.Rngs], nnx.Module]) -> tuple[nnx.Module, Graphs]:
    """Return the module with shapes instead of arrays, and its static parts; nothing is computed."""
    model = nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))
    model.eval()
    evaluating = split_module(model)[0]
    model.train()
    return model, Graphs(train=split_module(model)[0], eval=evaluating)


def initial(
    make_model: Callable[[nnx.Rngs], nnx.Module],
    make_optimizer: OptimizerFactory,
    cast_to_param: Callable[[Tree], Tree],
    root: Array,
    hparams: dict[str, Any],
    averaged: bool = False,
    batch_size: int = 1,
) -> TrainState:
    """Initialise model and optimizer from a key and hyperparameters, inside a trace.

    `cast_to_param` converts new parameters to the dtype they are stored in. `batch_size` is for a model
    that keeps a recurrent state per example.
    """
    model_key, run_key = jax.random.split(root)
    _, params, model_state = split_module(make_model(nnx.Rngs(params=model_key)))
    params, model_state = cast_to_param(params), fresh(model_state, batch_size)
    return TrainState(
        step=jnp.int32(0),
        updates=jnp.int32(0),
        key=run_key,
        params=params,
        model_state=model_state,
        opt_state=make_optimizer(hparams).init(params),
        ema=averages.begin(params, model_state) if averaged else {},
        hparams=hparams,
        active=jnp.bool_(True),
        left_out=jnp.zeros(ROLLBACKS, jnp.int32),
    )


# Random initial values compile in 0.8 s instead of 2.1 this way, and run as fast (16 million in 0.4 s).
_OPTIONS = {"xla_backend_optimization_level": "1"}


def create(
    make_model: Any,
    make_optimizer: Any,
    *,
    seed: int,
    hparams: Mapping[str, np.generic],
    cast_to_param: Callable[[Tree], Tree] = lambda params: params,
    averaged: bool = False,
    batch_size: int = 1,
    where: TrainState | None = None,
) -> TrainState:
    """Initialise model and optimizer in one compiled call, shared by all seeds; `where` has the shardings."""
    arguments = (
        make_model,
        make_optimizer,
        cast_to_param,
        jax.random.key(seed),
        dict(hparams),
        averaged,
        batch_size,
    )

    def compiled(quickly: bool) -> TrainState:
        return (_compiled(quickly) if where is None else _compile(quickly, out_shardings=where))(*arguments)

    if jax.default_backend() != "cpu":
        return compiled(quickly=False)
    try:
        return compiled(quickly=True)
    except jax.errors.JaxRuntimeError as error:
        if "compile option" not in str(error):
            raise
        return compiled(quickly=False)  # a version of XLA without the option raises


def _compile(quickly: bool, **where: Any) -> Callable[..., TrainState]:
    options = _OPTIONS if quickly else None
    return jax.jit(initial, static_argnums=(0, 1, 2, 5, 6), compiler_options=options, **where)


@functools.cache
def _compiled(quickly: bool) -> Callable[..., TrainState]:
    """Return one function for all states on one device: a new one takes jax 3 ms each time."""
    return _compile(quickly)


def named_leaves(tree: Tree) -> dict[str, Array]:
    """Flatten to `{"params.hidden.0.kernel": array}`, keys as raw uint32, in a fixed order."""
    leaves, structure = jax.tree.flatten(tree)
    return {name: _raw(leaf) for name, leaf in zip(_names(structure), leaves, strict=True)}


@functools.lru_cache(maxsize=64)
def _names(structure: Any) -> tuple[str, ...]:
    """Return the names of the leaves of a tree with this structure; they are asked for at every evaluation."""
    paths = jax.tree_util.tree_flatten_with_path(structure.unflatten(range(structure.num_leaves)))[0]
    return tuple(path_name(path) for path, _ in paths)


def from_named(like: Tree, leaves: Mapping[str, np.ndarray], *, what: str) -> Tree:
    """Rebuild a tree with the structure of `like` from named leaves, or raise CheckpointError with the mismatch.

    Recurrent state of another batch size is replaced by zeros.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [path_name(path) for path, _ in paths]
    if "updates" in names and "step" in leaves:  # older checkpoints do not count updates apart from steps
        leaves = {"updates": leaves["step"], **leaves}
    if missing := [n for n in names if n not in leaves]:
        raise CheckpointError(f"{what} lacks {', '.join(missing[:5])}: it is of another model or optimizer")
    values = []
    for name, (path, leaf) in zip(names, paths, strict=True):
        expected, found = _raw(leaf), leaves[name]
        if is_recurrent_state(path) and expected.shape[:1] != found.shape[:1]:
            found = np.zeros((expected.shape[0], *found.shape[1:]), found.dtype)
        if expected.shape != found.shape or expected.dtype != found.dtype:
            raise CheckpointError(
                f"{what}: {name} is {found.dtype}{list(found.shape)}, "
                f"expected {expected.dtype}{list(expected.shape)}"
            )
        values.append(_like(leaf, found))
    return jax.tree_util.tree_unflatten(structure, values)


def state_hash(leaves: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of params, model state, optimizer state, EMA, key and step: equal for equal runs."""
    digest = hashlib.sha256()
    for name in sorted(leaves):
        if name.split(".")[0] in ("params", "model_state", "opt_state", "ema", "key", "step"):
            value = np.ascontiguousarray(leaves[name])
            digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(leaf: Any) -> Any:
    if not _is_key(leaf):
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.random.key_data(leaf)


def _like(leaf: Any, value: Any) -> Array:
    if isinstance(value, jax.Array) and not value.is_fully_addressable:  # of several processes
        return value
    placed = value if isinstance(value, jax.Array) else _put(value)
    return jax.random.wrap_key_data(placed) if _is_key(leaf) else placed


def _put(value: np.ndarray) -> jax.Array:
    """Put an array on the device: `jnp.asarray` would compile a program for each shape."""
    # A CPU takes the memory of the array itself, which must then be nobody else's: states are donated.
    return jax.device_put(np.array(value) if jax.default_backend() == "cpu" else value)
