"""Explains a loss or gradient that is not finite: saves the batch, and finds where in the model it began."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.build.program import Program
from dltrain.engine.padding import fill_padding
from dltrain.engine.state import TrainState, named_leaves
from dltrain.engine.step import make_gradients, named_values, prepare
from dltrain.errors import DiskError
from dltrain.models.observe import observe
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.tree import flattened
from dltrain.types import Batch

FEW = 8  # examples or names in a message


def explain(program: Program, folder: RunFolder, state: TrainState | None, step: int) -> str:
    """Save the batch of a step (counted from 1), repeat the step, and describe what was not finite first.

    `state` is the one that the step left unchanged, so it has the parameters that the step began with.
    """
    batch = program.batch(step - 1)
    examples = program.parts.pipeline.indices(step - 1, 1)[0]
    saved = checkpoint.steps(folder.checkpoints)
    kept = f"the last checkpoint is of step {saved[-1]}" if saved else "no checkpoint has been written"
    lines = [f" (examples {_few(examples[examples >= 0])}); {kept}"]
    try:
        if state is not None and int(state.step) == step - 1:  # with skipping, training may have continued since
            lines.append(f"first not finite: {_first(program, state, batch, examples)}")
    except Exception as error:  # the run ends because of the loss, even if the search fails
        lines.append(f"repeating the step failed: {str(error).splitlines()[0]}")
    try:
        lines.append(f"the batch is saved in {_save_batch(folder, batch, examples, step)}")
    except DiskError as error:
        lines.append(str(error))
    return "\n".join([*lines, "try a smaller optim.learning_rate, optim.clip={norm: 1.0}, or on_nonfinite=skip"])


def _save_batch(folder: RunFolder, batch: Batch, examples: np.ndarray, step: int) -> str:
    path = folder.nonfinite / f"step_{step:08d}.npz"
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, examples=examples, **{n: np.asarray(v) for n, v in batch.items()})
    (folder.files / "nonfinite").replace(path.name, packed.getvalue())
    return str(path)


@dataclass
class _Search:
    """Records the first module with an input or output that is not finite."""

    found: str = ""

    def __call__(self, name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if not self.found and not _finite(args):
                self.found = f"the input of {name} ({type(module).__name__})"
            outputs = call(*args, **kwargs)
            if not self.found and not _finite(outputs):
                self.found = f"the output of {name} ({type(module).__name__})"
            return outputs

        return watched


def _first(program: Program, state: TrainState, raw: Batch, examples: np.ndarray) -> str:
    """Repeat the update, one operation after the other, until something is not finite."""
    parts, precision = program.parts, program.precision
    if bad := [name for name, leaf in named_leaves(state.params).items() if not _finite(leaf)]:
        return f"the parameter {bad[0]}, before the step"
    for name, value in flattened(raw).items():
        if not _finite(value):
            return f"{name} in the data{_of_examples(value, examples)}"
    batch, key = prepare(fill_padding(raw), state, parts.preprocess, parts.augment)
    if not _finite(batch["inputs"]):
        wrong = {
            name: value for name, value in flattened({"inputs": batch["inputs"]}).items() if not _finite(value)
        }
        return "; ".join(
            f"the scaled and augmented {name}{_of_examples(value, examples)}" for name, value in wrong.items()
        )
    model = nnx.merge(program.graphs.train, precision.cast_to_compute(state.params), state.model_state, copy=True)
    if getattr(model, "remat", False):
        model.remat = False  # the search needs values, and rematerialised blocks are traced
    search = _Search()
    observe(model, search)
    inputs = precision.cast_to_compute(batch["inputs"])
    outputs = precision.cast_to_output(model(inputs, mask=batch["mask"], rngs=nnx.Rngs(dropout=key)))
    if search.found:
        return search.found
    for name, values in named_values(parts.objective.loss(outputs, batch)).items():
        if not _finite(values):
            return f"the {name}{_of_examples(values, examples)}"
    gradients = make_gradients(program.graphs, parts.objective, precision, parts.accumulate)
    terms, _, _, grads = jax.jit(gradients)(state.params, state.model_state, batch, key)
    if bad := [name for name, value in terms.items() if not _finite(value)]:
        return f"the {bad[0]}, summed over the batch"
    if bad := [name for name, leaf in named_leaves(grads).items() if not _finite(leaf)]:
        return f"the gradient of {', '.join(bad[:FEW])}"
    return (
        "nothing: when repeated, the step is finite (its gradient norm may overflow float32, or the optimizer "
        "evaluated the loss at other parameters)"
    )


def _finite(tree: Any) -> bool:
    floats = (x for x in jax.tree.leaves(tree) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating))
    return all(bool(jnp.isfinite(x).all()) for x in floats)


def _of_examples(values: Any, examples: np.ndarray) -> str:
    """List the examples whose values are not finite."""
    bad = ~np.isfinite(np.asarray(values, np.float32)).reshape(len(examples), -1).all(1)
    return f" of examples {_few(examples[bad & (examples >= 0)])}"


def _few(examples: np.ndarray) -> str:
    return ", ".join(map(str, examples[:FEW].tolist())) + ", ..." * (len(examples) > FEW)
