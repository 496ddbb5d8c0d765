"""Weights keep names, bits and types in a safetensors file."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.errors import CheckpointError
from dltrain.inference.export.weights import from_safetensors, to_safetensors


def test_weights_of_every_type_are_read_back():
    params = {"head": {"kernel": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3), "bias": jnp.float32(-0.0)}}
    state = {"norm": {"count": jnp.int32(3), "on": jnp.array([True, False])}}
    content = to_safetensors(SimpleNamespace(params=params, model_state=state))
    found = from_safetensors(content, "weights")
    expected = {f"params.head.{name}": value for name, value in params["head"].items()}
    expected |= {f"model_state.norm.{name}": value for name, value in state["norm"].items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert found[name].tobytes() == np.asarray(value).tobytes()
    with pytest.raises(CheckpointError, match="weights cannot be read: it is damaged"):
        from_safetensors(content[:-1], "weights")
