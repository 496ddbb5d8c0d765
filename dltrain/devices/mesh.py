"""Several devices: the sharding of batches and states over a `jax.sharding.Mesh`, of one process or of several.

Each device gets a part of every batch; with `fsdp` above 1 it also has only a part of the parameters and of the
optimizer state (Zhao et al. 2023; Rajbhandari et al. 2020). Devices along `model` share the examples and have parts
of the layers (Shoeybi et al. 2019). The program is written for the whole batch, and XLA inserts the sums over
devices; so losses, batch statistics and the order of the data do not depend on their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dltrain.devices import hosts
from dltrain.devices.tensor_parallel import axis_of
from dltrain.errors import ConfigError
from dltrain.tree import path_name

AXES = ("data", "fsdp", "model")
OF_BATCH = ("data", "fsdp")  # axes over which the examples of a batch are divided
CUT_FROM = 1024  # values: gathering a smaller array costs more than it saves, so each device has a copy


@dataclass(frozen=True)
class Layout:
    """The sharding of the arrays of a run."""

    mesh: Mesh

    def __str__(self) -> str:
        """Format it: data 2 x fsdp 2."""
        return " x ".join(f"{axis} {size}" for axis, size in self.mesh.shape.items())

    @property
    def devices(self) -> int:
        """Number of devices."""
        return self.mesh.size

    @property
    def shares(self) -> int:
        """Number of the parts of a batch."""
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    @property
    def replicated(self) -> NamedSharding:
        """The sharding with a complete copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def over_devices(self, axis: int = 0) -> NamedSharding:
        """Return the sharding of this axis, of examples, over all devices but those along `model`."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, OF_BATCH))

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Shard a traced batch [B, ...] over the devices."""
        return jax.lax.with_sharding_constraint(dict(batch), self.over_devices())

    def of(self, state: Any) -> Any:
        """Return the sharding of each leaf of a TrainState; parameters, moments and averages may be sharded."""

        def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            if path[0].name not in ("params", "opt_state", "ema") or np.prod(leaf.shape) < CUT_FROM:
                return self.replicated
            return self._cut(path_name(path), leaf.shape)

        return jax.tree_util.tree_map_with_path(one, state)

    def place(self, state: Any) -> Any:
        """Move a state to the devices; every process has to have all of it, or it is there already."""
        if hosts.count() == 1:
            return jax.device_put(state, self.of(state))
        raw = jax.tree.map(_raw, state)
        wrap = jax.tree.map(lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key), state)

        def whole(raw: Any) -> Any:
            return jax.tree.map(lambda x, key: jax.random.wrap_key_data(x) if key else x, raw, wrap)

        return jax.jit(whole, out_shardings=self.of(state))(raw)

    def _cut(self, name: str, shape: tuple[int, ...]) -> NamedSharding:
        """Shard the axis that the rules of `model` name, and for fsdp the longest other one that divides evenly."""
        axes: list[str | None] = [None] * len(shape)
        parts = self.mesh.shape.get("model", 1)
        taken = axis_of(name, shape) if parts > 1 else None
        if taken is not None and shape[taken] % parts == 0:
            axes[taken] = "model"
        parts = self.mesh.shape["fsdp"]
        even = [axis for axis, size in enumerate(shape) if size % parts == 0 and not axes[axis]]
        if parts > 1 and even:
            axes[max(even, key=lambda axis: shape[axis])] = "fsdp"
        while axes and axes[-1] is None:
            axes.pop()
        return NamedSharding(self.mesh, PartitionSpec(*axes))


def put(array: Any, where: Any) -> jax.Array:
    """Move an array of the host, which every process has completely, to the devices of all processes."""
    if where is None or where.is_fully_addressable:
        return jax.device_put(array, where)
    array = np.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))
    return jax.make_array_from_callback(array.shape, where, lambda index: array[index])


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

    Every process has to ask, since they gather together.
    """
    return jax.tree.map(_on_host, tree)


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
        examples: number of examples of a microbatch, which all devices but those along `model` share.

    Raises:
        ConfigError: there are too few devices, or the examples do not divide evenly.
    """
    devices = (
        sorted(jax.devices(), key=lambda d: (d.process_index, d.id)) if hosts.count() > 1 else jax.local_devices()
    )
    if wanted == "auto":
        sizes = (_most(len(devices), examples), 1, 1)
    else:
        assert not isinstance(wanted, str)
        sizes = tuple(wanted.get(axis, 1) for axis in AXES)
        count, shares = sizes[0] * sizes[1] * sizes[2], sizes[0] * sizes[1]
        if count > len(devices):
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: needs {count} devices, but there are {len(devices)}; try auto"
            )
        if examples % shares:
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: {examples} examples (batch_size / optim.accumulate) must divide by "
                f"{shares} devices; try batch_size={_rounded(examples, shares)} x accumulate"
            )
        if hosts.count() > 1 and count < len(devices):
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: has {count} of the {len(devices)} devices of {hosts.count()} "
                "processes; a mesh over several processes has to have all of them"
            )
    if np.prod(sizes) == 1:
        return None
    axes = AXES if sizes[2] > 1 else AXES[:2]  # without `model`, the program is that of two axes
    grid = np.array(devices[: np.prod(sizes)]).reshape(sizes[: len(axes)])
    return Layout(Mesh(grid, axes, axis_types=(AxisType.Auto,) * len(axes)))


def _most(devices: int, examples: int) -> int:
    """Return the largest number of devices that divides the examples evenly; of several processes, all of them."""
    if hosts.count() == 1:
        return max(n for n in range(1, devices + 1) if examples % n == 0)
    if examples % devices:
        raise ConfigError(
            f"batch_size: {examples} examples (batch_size / optim.accumulate) must divide by the {devices} devices "
            f"of {hosts.count()} processes; try batch_size={_rounded(examples, devices)} x accumulate"
        )
    return devices


def _words(sizes: tuple[int, ...]) -> str:
    shown = AXES if sizes[2] > 1 else AXES[:2]
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in zip(shown, sizes, strict=False)) + "}"


def _rounded(examples: int, count: int) -> int:
    return max(1, round(examples / count)) * count
