"""What a chunk is given: row numbers of a data set that lives on the device."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.types import Array


def place(arrays: Mapping[str, np.ndarray]) -> dict[str, Array]:
    """Put a whole data set on the device; uint8 stays uint8 and is cast in the graph."""
    return {name: jax.device_put(value) for name, value in arrays.items()}


def gather(data: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    """Pick the rows of one batch, int32 [B] -> the batch, with `mask` False where the row number is PADDING (-1).

    Row numbers are checked on the host, where they are made: a gather on the device clips without a word.
    """
    index = jnp.maximum(rows, 0)
    picked = {name: jnp.take(value, index, axis=0, mode="clip") for name, value in data.items()}
    return {**picked, "mask": rows >= 0}
