"""The decisions of a trained model as a compiled program of one batch size, for whoever calls it very often."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dltrain.inference import query
from dltrain.inference.bundle import Bundle
from dltrain.types import Spec, alone_or_named

Arrays = Mapping[str, np.ndarray]
"""Arrays by name, [N, ...] each."""


def compile_decisions(bundle: Bundle, size: int) -> Callable[[Arrays, np.ndarray], dict[str, np.ndarray]]:
    """Compile `bundle.decisions` for batches of `size` examples.

    The returned function takes the inputs by name, [size, ...] each, as `given_inputs` checks them, and `mask`,
    bool [size], which is False for padding; it returns the decisions, [size, ...] each. Calling it only runs the
    program, in any thread.
    """
    features = bundle.array_spec.inputs
    compiled = _lowered(bundle, size).compile()

    def decide(inputs: Arrays, mask: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"inputs": alone_or_named({name: inputs[name] for name in features}), "mask": mask}
        found = compiled(bundle.params, bundle.model_state, batch, {})
        return {name: np.asarray(values) for name, values in found.items()}

    return decide


def decision_shapes(bundle: Bundle) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the decisions of one example by name, [1, ...] each, as shapes and dtypes; nothing is compiled."""
    return dict(_lowered(bundle, 1).out_info)


def _lowered(bundle: Bundle, size: int) -> Any:
    program = (query.decisions, bundle.decided, bundle.graphs.eval, bundle.preprocess, bundle.precision)
    batch = _example(bundle.array_spec, size)
    return query.run_query.lower(*program, bundle.params, bundle.model_state, batch, {})


def _example(spec: Spec, size: int) -> dict[str, Any]:
    shapes = {
        name: jax.ShapeDtypeStruct((size, *feature.shape), jax.dtypes.canonicalize_dtype(feature.dtype))
        for name, feature in spec.inputs.items()
    }
    return {"inputs": alone_or_named(shapes), "mask": jax.ShapeDtypeStruct((size,), np.bool_)}
