"""Several devices: the sharding of batches and states over a `jax.sharding.Mesh`, of one process or of several.

Each device gets a part of every batch; with `fsdp` above 1 it also has only a part of the parameters and of the
optimizer state (Zhao et al. 2023; Rajbhandari et al. 2020). With `model` above 1, layers are divided by rules
(`devices.rules`), and the devices of that axis get the same part of the batch. The program is written for the whole
batch, and XLA inserts the sums over devices; so losses, batch statistics and the order of the data do not depend on
their number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dltrain.devices import hosts, rules
from dltrain.errors import ConfigError
from dltrain.ops.divided import MODEL  # an axis of the mesh only if it divides layers
from dltrain.tree import path_name

AXES = ("data", "fsdp")  # over which a batch is divided
CUT_FROM = 1024  # values: gathering a smaller array costs more than it saves, so each device has a copy


@dataclass(frozen=True)
class Layout:
    """The sharding of the arrays of a run."""

    mesh: Mesh
    divided: Mapping[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    """Parameters that are divided over `model`: name -> (shape, axis)."""

    def __str__(self) -> str:
        """Format it: data 2 x fsdp 2."""
        return " x ".join(f"{axis} {size}" for axis, size in self.mesh.shape.items())

    @property
    def devices(self) -> int:
        """Number of devices."""
        return self.mesh.size

    @property
    def shares(self) -> int:
        """Number of parts of a batch."""
        return self.mesh.size // self.models

    @property
    def models(self) -> int:
        """Number of devices that share the layers for a part of a batch."""
        return self.mesh.shape.get(MODEL, 1)

    @property
    def replicated(self) -> NamedSharding:
        """The sharding with a complete copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def over_devices(self, axis: int = 0) -> NamedSharding:
        """Return the sharding of this axis, that of examples, over all devices but those of `model`."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXES))

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Shard a traced batch [B, ...] over the devices; each has the whole mask, and counts it alone."""
        where = {name: self.replicated if name == "mask" else self.over_devices() for name in batch}
        return {name: jax.lax.with_sharding_constraint(value, where[name]) for name, value in batch.items()}

    def of(self, state: Any) -> Any:
        """Return the sharding of each leaf of a TrainState; parameters, moments and averages may be sharded."""

        def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            if path[0].name not in ("params", "opt_state", "ema"):
                return self.replicated
            return self._cut(leaf.shape, rules.axis_of(path_name(path), leaf.shape, self.divided))

        return jax.tree_util.tree_map_with_path(one, state)

    def place(self, state: Any) -> Any:
        """Move a state to the devices; every process has to have all of it, except for arrays that are there."""
        if hosts.count() == 1:
            return jax.device_put(state, self.of(state))
        leaves, structure = jax.tree.flatten(state)
        where = jax.tree.leaves(self.of(state))
        moved = [i for i, leaf in enumerate(leaves) if not _is_there(leaf, where[i])]
        keys = [jnp.issubdtype(leaves[i].dtype, jax.dtypes.prng_key) for i in moved]

        def whole(raw: list[Any]) -> list[Any]:
            return [jax.random.wrap_key_data(x) if key else x for x, key in zip(raw, keys, strict=True)]

        placed = jax.jit(whole, out_shardings=[where[i] for i in moved])([_raw(leaves[i]) for i in moved])
        for i, leaf in zip(moved, placed, strict=True):
            leaves[i] = leaf
        return jax.tree.unflatten(structure, leaves)

    def dividing(self, params: Any, own: Sequence[Mapping[str, Any]]) -> "Layout":
        """Return the layout with these parameters divided over `model`, by the defaults and the config's rules."""
        if self.models == 1:
            return self
        leaves = jax.tree_util.tree_flatten_with_path(params)[0]
        shapes = {path_name(path): tuple(leaf.shape) for path, leaf in leaves}
        axes = rules.divide(shapes, own, self.models)
        return replace(self, divided={name: (shapes[name], axis) for name, axis in axes.items()})

    def within(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let parts that compute differently on several devices (`ops.divided`) see the mesh in this trace."""

        def inside(*args: Any, **options: Any) -> Any:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return function(*args, **options)

        return inside

    def _cut(self, shape: tuple[int, ...], over_model: int | None = None) -> NamedSharding:
        """Shard an axis over `model`, and over `fsdp` the longest other axis that divides evenly."""
        names: list[str | None] = [None] * len(shape)
        if over_model is not None:
            names[over_model] = MODEL
        parts = self.mesh.shape["fsdp"]
        even = [axis for axis, size in enumerate(shape) if size % parts == 0 and axis != over_model]
        if parts > 1 and even and np.prod(shape) >= CUT_FROM:
            names[max(even, key=lambda axis: shape[axis])] = "fsdp"
        while names and names[-1] is None:
            names.pop()
        return NamedSharding(self.mesh, PartitionSpec(*names))


def put(array: Any, where: Any) -> jax.Array:
    """Move an array of the host, which every process has completely, to the devices of all processes."""
    if where is None or where.is_fully_addressable:
        return jax.device_put(array, where)
    array = np.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))
    return jax.make_array_from_callback(array.shape, where, lambda index: array[index])


def complete(where: NamedSharding) -> NamedSharding:
    """Return the sharding with a complete copy on each device of the same mesh."""
    return NamedSharding(where.mesh, PartitionSpec())


def own_rows(where: Any, count: int, *, axis: int = 0) -> slice:
    """Return the rows of an axis of `count` rows that the devices of this process need."""
    shape = (*[1] * axis, count)
    parts = [index[axis] for index in where.addressable_devices_indices_map(shape).values()]
    return slice(min(part.start or 0 for part in parts), max(count if p.stop is None else p.stop for p in parts))


def put_rows(rows: np.ndarray, where: Any, count: int, *, axis: int) -> jax.Array:
    """Move the rows of `own_rows` to the devices; the whole array has `count` of them, read by all processes."""
    shape = (*rows.shape[:axis], count, *rows.shape[axis + 1 :])
    first = own_rows(where, count, axis=axis).start

    def part(index: Any) -> np.ndarray:
        wanted = index[axis]
        begin, end = wanted.start or 0, count if wanted.stop is None else wanted.stop
        return rows[(*index[:axis], slice(begin - first, end - first), *index[axis + 1 :])]

    return jax.make_array_from_callback(shape, where, part)


def on_host(tree: Any) -> Any:
    """Return the arrays of a tree as NumPy arrays; those that are divided among processes are gathered one by one.

    Every process has to ask, since they gather together. Small arrays on a CPU take a tenth of the time of
    `jax.device_get`.
    """
    if jax.default_backend() != "cpu":  # all are copied at once
        for leaf in jax.tree.leaves(tree):
            if isinstance(leaf, jax.Array) and leaf.is_fully_addressable:
                leaf.copy_to_host_async()
    return jax.tree.map(_on_host if jax.process_count() > 1 else np.asarray, tree)


def _on_host(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())
        leaf = jax.jit(lambda x: x, out_shardings=everywhere)(leaf)
    return np.asarray(leaf)


def local_state(state: Any) -> Any:
    """Return a state of several processes as arrays of this one; every process has to ask."""

    def local(leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(_on_host(jax.random.key_data(leaf))))
        return jnp.asarray(_on_host(leaf))

    return jax.tree.map(local, state)


def send(tree: Any) -> Any:
    """Return the NumPy arrays of process 0; the others give arrays of the same shapes."""
    from jax.experimental import multihost_utils

    return jax.tree.map(lambda array: np.asarray(multihost_utils.broadcast_one_to_all(array)), tree)


def _is_there(leaf: Any, where: NamedSharding) -> bool:
    """Tell whether an array is on the devices of all processes as it should be."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return False
    return leaf.sharding.is_equivalent_to(where, leaf.ndim)


def _raw(leaf: Any) -> Any:
    """Return what all processes can give to one program: an array of all of them, or a NumPy array."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable else np.asarray(leaf)


def make_layout(wanted: str | Mapping[str, int], examples: int) -> Layout | None:
    """Choose the layout over the devices of all processes; None for a single device.

    Args:
        wanted: `{data: d, fsdp: f, model: m}` for d × f × m devices, or `auto` for the largest number that divides
            the batch evenly.
        examples: number of examples of a microbatch, which d × f devices share.

    Raises:
        ConfigError: there are too few devices, or the examples do not divide evenly.
    """
    devices = (
        sorted(jax.devices(), key=lambda d: (d.process_index, d.id)) if hosts.count() > 1 else jax.local_devices()
    )
    sizes = axis_sizes(wanted, examples, devices=len(devices), processes=hosts.count())
    count = math.prod(sizes.values())
    if count == 1:
        return None
    grid = np.array(devices[:count]).reshape(*sizes.values())
    return Layout(Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes)))


def axis_sizes(wanted: str | Mapping[str, int], examples: int, *, devices: int, processes: int) -> dict[str, int]:
    """Return the size of each axis of the mesh, or raise ConfigError, as `make_layout`; no device is needed.

    Args:
        wanted: `runtime.mesh`.
        examples: number of examples of a microbatch.
        devices: of all processes.
        processes: that train together; several have to use all of their devices.
    """
    if wanted == "auto":
        return {"data": _most(devices, examples, processes), "fsdp": 1}
    assert not isinstance(wanted, str)
    sizes = {axis: wanted.get(axis, 1) for axis in AXES}
    if wanted.get(MODEL, 1) > 1:
        sizes[MODEL] = wanted[MODEL]
    count, parts = math.prod(sizes.values()), math.prod(sizes[axis] for axis in AXES)
    if count > devices:
        raise ConfigError(f"runtime.mesh={_words(sizes)}: needs {count} devices, but there are {devices}; try auto")
    if examples % parts:
        raise ConfigError(
            f"runtime.mesh={_words(sizes)}: {examples} examples (batch_size / optim.accumulate) must divide by "
            f"{parts} devices; try batch_size={_rounded(examples, parts)} x accumulate"
        )
    if processes > 1 and count < devices:
        raise ConfigError(
            f"runtime.mesh={_words(sizes)}: has {count} of the {devices} devices of {processes} "
            "processes; a mesh over several processes has to have all of them"
        )
    return sizes


def _most(devices: int, examples: int, processes: int) -> int:
    """Return the largest number of devices that divides the examples evenly; of several processes, all of them."""
    if processes == 1:
        return max(n for n in range(1, devices + 1) if examples % n == 0)
    if examples % devices:
        raise ConfigError(
            f"batch_size: {examples} examples (batch_size / optim.accumulate) must divide by the {devices} devices "
            f"of {processes} processes; try batch_size={_rounded(examples, devices)} x accumulate"
        )
    return devices


def _words(sizes: Mapping[str, int]) -> str:
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in sizes.items()) + "}"


def _rounded(examples: int, count: int) -> int:
    return max(1, round(examples / count)) * count
