"""Many devices as one: how batches and states are laid out over a `jax.sharding.Mesh`.

Each device gets a part of every batch; with `fsdp` above 1 it also keeps only a part of the parameters and of the
optimizer's state (Zhao et al. 2023; Rajbhandari et al. 2020). The program is written for the whole batch, and XLA
puts in the sums over devices; so losses, batch statistics and the order of the data do not depend on their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dltrain.errors import ConfigError

AXES = ("data", "fsdp")
CUT_FROM = 1024  # numbers: a smaller array costs more to gather than it saves, and is kept whole everywhere


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a run lie."""

    mesh: Mesh

    def __str__(self) -> str:
        """Write it for people: data 2 x fsdp 2."""
        return " x ".join(f"{axis} {size}" for axis, size in self.mesh.shape.items())

    @property
    def devices(self) -> int:
        """How many parts a batch is cut into."""
        return self.mesh.size

    @property
    def replicated(self) -> NamedSharding:
        """A whole copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def rows(self, axis: int = 0) -> NamedSharding:
        """Rows along this axis, cut among all devices."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXES))

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Cut a traced batch [B, ...] among the devices."""
        return jax.lax.with_sharding_constraint(dict(batch), self.rows())

    def of(self, state: Any) -> Any:
        """Return where each leaf of a TrainState lies: parameters and what is shaped as they are may be cut."""

        def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            return self._cut(leaf.shape) if path[0].name in ("params", "opt_state", "ema") else self.replicated

        return jax.tree_util.tree_map_with_path(one, state)

    def place(self, state: Any) -> Any:
        """Put a state there."""
        return jax.device_put(state, self.of(state))

    def _cut(self, shape: tuple[int, ...]) -> NamedSharding:
        """Cut along the longest axis that can be cut evenly."""
        parts = self.mesh.shape["fsdp"]
        even = [axis for axis, size in enumerate(shape) if size % parts == 0]
        if parts == 1 or not even or np.prod(shape) < CUT_FROM:
            return self.replicated
        longest = max(even, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * longest, "fsdp"))


def make_layout(wanted: str | Mapping[str, int], rows: int) -> Layout | None:
    """Lay a batch out over local devices; None where one device does it all.

    Args:
        wanted: `{data: d, fsdp: f}` for d × f devices, or `auto` for as many as divide the batch evenly.
        rows: of the batches that the devices work on at once.

    Raises:
        ConfigError: there are not so many devices, or the rows cannot be cut evenly.
    """
    devices = jax.local_devices()
    if wanted == "auto":
        sizes = (max(n for n in range(1, len(devices) + 1) if rows % n == 0), 1)
    else:
        assert not isinstance(wanted, str)
        sizes = tuple(wanted.get(axis, 1) for axis in AXES)
        count = sizes[0] * sizes[1]
        if count > len(devices):
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: needs {count} devices, and there are {len(devices)}; try auto"
            )
        if rows % count:
            raise ConfigError(
                f"runtime.mesh={_words(sizes)}: {rows} rows (batch_size over optim.accumulate) cannot be cut "
                f"among {count} devices; try batch_size={_rounded(rows, count)} x accumulate"
            )
    if sizes[0] * sizes[1] == 1:
        return None
    grid = np.array(devices[: sizes[0] * sizes[1]]).reshape(sizes)
    return Layout(Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES)))


def _words(sizes: tuple[int, ...]) -> str:
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in zip(AXES, sizes, strict=True)) + "}"


def _rounded(rows: int, count: int) -> int:
    return max(1, round(rows / count)) * count
