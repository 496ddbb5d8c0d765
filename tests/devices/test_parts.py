"""The parts of arrays that a process has: every value once, and copies that survive the array."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json
import jax, numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from dltrain.devices.parts import copied, own_bytes

axes = (AxisType.Auto,) * 2
mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("data", "fsdp"), axis_types=axes)
found = []
for shape, spec in json.loads('''CASES'''):
    values = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    where = NamedSharding(mesh, PartitionSpec(*spec))
    array = jax.jit(lambda x: x * 1, out_shardings=where)(values)  # jax owns its memory, and may reuse it
    copy = copied(array)
    again = jax.jit(lambda x: x + 1, donate_argnums=0)(array)  # which reuses the memory of the array
    again.block_until_ready()
    reused = array.is_deleted()
    first = [shard for shard in copy.addressable_shards if shard.replica_id == 0]
    found.append({
        "parts": sorted({shard.data.shape for shard in copy.addressable_shards}),
        "values": sum(shard.data.size for shard in first),
        "writers": len({shard.device for shard in first}),
        "same": bool(np.array_equal(np.asarray(copy), values)),
        "reused": reused,
        "bytes": own_bytes(again.sharding, tuple(shape), "float32"),
    })
print(json.dumps(found))
"""
CASES = [
    ((64, 32), (None,)),
    ((64, 32), ("fsdp",)),
    ((64, 32), (None, "fsdp")),
    ((63, 31), (None,)),
    ((63, 62), (None, "fsdp")),
    ((4, 6), (None,)),
    ((), ()),
]


@pytest.fixture(scope="module")
def found() -> list[dict]:
    """What a process with four devices, as {data: 2, fsdp: 2}, copies of each array."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", SCRIPT.replace("CASES", json.dumps(CASES))]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_copies_hold_the_values_after_the_array_was_reused(found: list[dict]) -> None:
    assert all(one["reused"] and one["same"] for one in found)


def test_each_value_is_written_once(found: list[dict]) -> None:
    assert [one["values"] for one in found] == [int(np.prod(shape)) for shape, _ in CASES]


def test_a_large_array_is_divided_among_all_devices_and_others_are_whole(found: list[dict]) -> None:
    parts = [[tuple(shape) for shape in one["parts"]] for one in found]
    assert parts == [[(16, 32)], [(16, 32)], [(32, 16)], [(63, 31)], [(63, 31)], [(4, 6)], [()]]
    assert [one["writers"] for one in found] == [4, 4, 4, 1, 2, 1, 1]


def test_bytes_are_those_of_all_devices_of_the_process(found: list[dict]) -> None:
    whole = [4 * int(np.prod(shape)) for shape, _ in CASES]
    assert [one["bytes"] / size for one, size in zip(found, whole, strict=True)] == [4, 2, 2, 4, 2, 4, 4]
