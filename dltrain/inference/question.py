"""Questions to a model that is no outputs: what it writes, where it looks."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from dltrain.data.preprocess import Preprocess
from dltrain.devices.precision import Precision
from dltrain.engine.state import Graphs
from dltrain.tree import Tree
from dltrain.types import Batch


def make_question(
    graphs: Graphs, preprocess: Preprocess, precision: Precision, ask: Callable[..., Any]
) -> Callable[..., Any]:
    """Compile `(params, model_state, batch, **options) -> ask(model, inputs, batch, **options)`, in eval mode.

    The batch is as the source has it, with `mask [B]`; `inputs` are as the model is given them.
    """

    @jax.jit
    def run(params: Tree, model_state: Tree, raw: Batch, **options: Any) -> Any:
        model = nnx.merge(graphs.eval, precision.cast_to_compute(params), model_state, copy=True)
        inputs = precision.cast_to_compute(preprocess.scaled(raw)["inputs"])
        return precision.cast_to_output(ask(model, inputs, raw, **options))

    return run
