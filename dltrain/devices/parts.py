"""The parts of arrays that one of several processes has: which they are, their bytes, and copies on the host.

Nothing here needs the other processes, so no process waits for another one.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from dltrain.devices.mesh import CUT_FROM

Shape = tuple[int, ...]


def once(where: NamedSharding, shape: Shape) -> NamedSharding:
    """Divide an array also over the mesh axes along which it has copies, so that each value is in one place only.

    Each device keeps a part of what it had. Small arrays, and axes that do not divide evenly, stay as they are.
    """
    if math.prod(shape) < CUT_FROM:
        return where
    spec = [*where.spec, *[None] * (len(shape) - len(where.spec))]
    over = [() if axes is None else (axes,) if isinstance(axes, str) else tuple(axes) for axes in spec]
    sizes = where.mesh.shape
    for name in sizes:
        if any(name in axes for axes in over):
            continue
        rest = [size // math.prod(sizes[a] for a in axes) for size, axes in zip(shape, over, strict=True)]
        even = [axis for axis, size in enumerate(rest) if size % sizes[name] == 0]
        if even:
            longest = max(even, key=lambda axis: rest[axis])
            over[longest] = (*over[longest], name)
    return NamedSharding(where.mesh, PartitionSpec(*(axes or None for axes in over)))


def copied(array: jax.Array) -> jax.Array:
    """Copy the parts of this process to the memory of the host; the others are those of the other processes.

    What has copies on several devices is divided among them (`once`). The result stays valid when the memory of
    `array` is reused.
    """
    assert isinstance(array.sharding, NamedSharding)
    where = once(array.sharding, array.shape)
    kind = _memory(next(iter(where.addressable_devices)))
    if kind:
        where = where.with_memory_kind(kind)
    there = {shard.device: (shard.data, shard.index) for shard in array.addressable_shards}
    parts = []
    for device, wanted in where.addressable_devices_indices_map(array.shape).items():
        data, index = there[device]
        inside = tuple(map(_inside, wanted or (), index, array.shape))
        part = np.array(np.asarray(data)[inside])  # a copy, which no chunk overwrites
        own = jax.sharding.SingleDeviceSharding(device, memory_kind=kind)
        parts.append(jax.device_put(part, own))
    return jax.make_array_from_single_device_arrays(array.shape, where, parts)


def _memory(device: jax.Device) -> str | None:
    """Return the kind of memory of a device that is on the host; None for the device's own."""
    kinds = {memory.kind for memory in device.addressable_memories()}
    return "pinned_host" if device.platform != "cpu" and "pinned_host" in kinds else None


def _inside(wanted: slice, there: slice, size: int) -> slice:
    """Return where a part of an axis of this size is within the part that is there."""
    begin, end, _ = wanted.indices(size)
    first = there.indices(size)[0]
    return slice(begin - first, end - first)


def own_bytes(where: Sharding | None, shape: Shape, dtype: Any) -> int:
    """Return how many bytes of an array the devices of this process hold; all of it without a sharding."""
    size = np.dtype(dtype).itemsize
    if where is None:
        return math.prod(shape) * size
    return len(where.addressable_devices) * math.prod(where.shard_shape(shape)) * size
