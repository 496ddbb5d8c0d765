"""Export as StableHLO through `jax.export`: one file for CPU, CUDA and TPU, and any number of examples."""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax import export

from dltrain.inference.bundle import Bundle
from dltrain.inference.export.function import Calls, input_shapes, make_function, not_exported
from dltrain.ops import lowering

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(bundle: Bundle) -> bytes:
    """Return the exported function, serialised.

    Raises:
        ConfigError: a layer cannot be exported; names it, and why.
    """
    calls = Calls()
    function = make_function(bundle, calls)
    try:
        with lowering.stock():
            found = export.export(jax.jit(function), platforms=PLATFORMS)(input_shapes(bundle))
        return bytes(found.serialize())
    except Exception as error:
        raise not_exported(calls.failed, error, " to StableHLO") from error


def run_stablehlo(content: bytes) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Return a function that runs what `to_stablehlo` returned."""
    program = jax.jit(export.deserialize(bytearray(content)).call)
    return lambda inputs: {name: np.asarray(array) for name, array in program(dict(inputs)).items()}
