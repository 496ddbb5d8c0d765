"""What a part sees of a mesh: whether there is one, into how many parts it divides a layer, and along which axis.

Parameters are divided from outside (`devices.rules`). A part asks here only if it must compute in another order to
keep to its own share, such as attention by heads. Without such a mesh nothing changes.
"""

import jax
from jax.sharding import PartitionSpec

MODEL = "model"  # the name of the mesh axis


def parts() -> int:
    """Return the number of devices among which a layer is divided; 1 outside such a mesh."""
    return jax.sharding.get_abstract_mesh().shape.get(MODEL, 1)


def is_sharded() -> bool:
    """Tell whether examples or layers are divided over devices."""
    return not jax.sharding.get_abstract_mesh().empty


def whole(x: jax.Array) -> jax.Array:
    """Keep all of a traced array on each device: what is computed from it, such as a count, is not exchanged."""
    return jax.lax.with_sharding_constraint(x, PartitionSpec()) if is_sharded() else x


def along(x: jax.Array, axis: int) -> jax.Array:
    """Divide a traced array that has no axis of examples along this axis."""
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*[None] * axis, MODEL))
