"""A model with random weights as a `Bundle`, without data, training or a run folder."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from dltrain import losses
from dltrain.data.preprocess import Preprocess
from dltrain.data.preprocess.pipeline import model_spec
from dltrain.devices.precision import FLOAT32
from dltrain.engine.state import split_module, trace_module
from dltrain.engine.step import Objective
from dltrain.inference.bundle import Bundle
from dltrain.types import Spec


def small_bundle(
    make_model: Callable[..., nnx.Module], spec: Spec, preprocess: Preprocess | None = None, **parts: Any
) -> Bundle:
    """Build the model with `spec` and `rngs`, and a bundle of it; `parts` replace those of the bundle."""
    preprocess = preprocess or Preprocess({})
    shown = model_spec(spec, preprocess)

    def make(rngs: nnx.Rngs) -> nnx.Module:
        return make_model(spec=shown, rngs=rngs)

    module, graphs = trace_module(make)
    _, params, state = split_module(make(nnx.Rngs(0)))
    given = {
        "spec": shown,
        "raw_spec": spec,
        "preprocess": preprocess,
        "module": module,
        "graphs": graphs,
        "params": params,
        "model_state": state,
        "precision": FLOAT32,
        "objective": Objective(losses.cross_entropy),
        "metrics": {},
        "batch_size": 16,
    }
    return Bundle(**{**given, **parts})
