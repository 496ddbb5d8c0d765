"""The weights of a model as a safetensors file, by the names that checkpoints use: `params.head.kernel`."""

from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np

from dltrain.engine.state import named_leaves
from dltrain.errors import CheckpointError
from dltrain.inference.bundle import Bundle

FILE = "weights.safetensors"
DTYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    **{f"{sign}{bits}": np.dtype(f"{sign.lower()}{bits // 8}") for sign in "UI" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
    "BF16": ml_dtypes.bfloat16,
}


def to_safetensors(bundle: Bundle) -> bytes:
    """Return the weights to evaluate and the other variables (batch statistics)."""
    from safetensors.numpy import save

    leaves = named_leaves({"params": bundle.params, "model_state": bundle.model_state})
    arrays = {name: np.asarray(value, order="C") for name, value in jax.device_get(leaves).items()}
    return save(arrays, metadata={"format": "np"})


def from_safetensors(content: bytes, where: str) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file by name; CheckpointError if it is damaged."""
    import safetensors  # its numpy interface does not read bfloat16

    try:
        found = safetensors.deserialize(content)
        return {
            name: np.frombuffer(about["data"], DTYPES[about["dtype"]]).reshape(about["shape"])
            for name, about in found
        }
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{where} cannot be read: it is damaged ({error})") from error
