"""Several devices: the sharding of batches and states over a `jax.sharding.Mesh`.

Each device gets a part of every batch; with `fsdp` above 1 it also has only a part of the parameters and of the
optimizer state (Zhao et al. 2023; Rajbhandari et al. 2020). The program is written for the whole batch, and XLA
inserts the sums over devices; so losses, batch statistics and the order of the data do not depend on their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dltrain.errors import ConfigError

AXES = ("data", "fsdp")
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
        """Number of devices, and of the parts of a batch."""
        return self.mesh.size

    @property
    def replicated(self) -> NamedSharding:
        """The sharding with a complete copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def over_devices(self, axis: int = 0) -> NamedSharding:
        """Return the sharding of this axis over all devices."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXES))

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Shard a traced batch [B, ...] over the devices."""
        return jax.lax.with_sharding_constraint(dict(batch), self.over_devices())

    def of(self, state: Any) -> Any:
        """Return the sharding of each leaf of a TrainState; parameters, moments and averages may be sharded."""

        def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            return self._cut(leaf.shape) if path[0].name in ("params", "opt_state", "ema") else self.replicated

        return jax.tree_util.tree_map_with_path(one, state)

    def place(self, state: Any) -> Any:
        """Move a state to the devices."""
        return jax.device_put(state, self.of(state))

    def _cut(self, shape: tuple[int, ...]) -> NamedSharding:
        """Shard the longest axis that divides evenly."""
        parts = self.mesh.shape["fsdp"]
        even = [axis for axis, size in enumerate(shape) if size % parts == 0]
        if parts == 1 or not even or np.prod(shape) < CUT_FROM:
            return self.replicated
        longest = max(even, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * longest, "fsdp"))


def make_layout(wanted: str | Mapping[str, int], examples: int) -> Layout | None:
    """Choose the layout over local devices; None for a single device.

    Args:
        wanted: `{data: d, fsdp: f}` for d × f devices, or `auto` for the largest number that divides the batch
        evenly. examples: number of examples of a microbatch, which all devices share.

    Raises:
        ConfigError: there are too few devices, or the examples do not divide evenly.
    """
    devices = jax.local_devices()
    if wanted == "auto":
        sizes = (max(n for n in range(1, len(devices) + 1) if examples % n == 0), 1)
    else:
        assert not isinstance(wanted, str)
        sizes = tuple(wanted.get(axis, 1) for axis in AXES)
        count = sizes[0] * sizes[1]
        if count > len(devices):
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: needs {count} devices, but there are {len(devices)}; try auto"
            )
        if examples % count:
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: {examples} examples (batch_size / optim.accumulate) must divide by "
                f"{count} devices; try batch_size={_rounded(examples, count)} x accumulate"
            )
    if sizes[0] * sizes[1] == 1:
        return None
    grid = np.array(devices[: sizes[0] * sizes[1]]).reshape(sizes)
    return Layout(Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES)))


def _words(sizes: tuple[int, ...]) -> str:
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in zip(AXES, sizes, strict=True)) + "}"


def _rounded(examples: int, count: int) -> int:
    return max(1, round(examples / count)) * count
