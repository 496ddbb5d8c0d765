"""What a run says when a loss or gradient is not finite: the batch, kept; and where in the model it began."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.build.program import Program
from dltrain.engine.state import TrainState, named_leaves
from dltrain.engine.step import make_gradients, named_values, prepare
from dltrain.errors import DiskError
from dltrain.models.observe import observe
from dltrain.runs import checkpoint
from dltrain.runs.files import writing
from dltrain.runs.folder import RunFolder
from dltrain.tree import flattened
from dltrain.types import Batch

FEW = 8  # rows or names in a message


def explain(program: Program, folder: RunFolder, state: TrainState | None, step: int) -> str:
    """Keep the batch of a step (counted from 1), do the step again, and say what was not finite first.

    `state` is the one that the step was refused by, so that it has the parameters the step began with.
    """
    batch = program.batch(step - 1)
    rows = program.parts.pipeline.indices(step - 1, 1)[0]
    saved = checkpoint.steps(folder.checkpoints)
    kept = f"the last good checkpoint is of step {saved[-1]}" if saved else "no checkpoint was written yet"
    lines = [f" (rows {_few(rows[rows >= 0])}); {kept}"]
    try:
        if state is not None and int(state.step) == step - 1:  # skipping, it may have gone on to others since
            lines.append(f"first not finite: {_first(program, state, batch, rows)}")
    except Exception as error:  # the run ends because of the loss, whatever becomes of the search
        lines.append(f"doing the step again failed: {str(error).splitlines()[0]}")
    try:
        lines.append(f"the batch is kept in {_keep(folder, batch, rows, step)}")
    except DiskError as error:
        lines.append(str(error))
    return "\n".join([*lines, "try a smaller optim.learning_rate, optim.clip={norm: 1.0}, or on_nonfinite=skip"])


def _keep(folder: RunFolder, batch: Batch, rows: np.ndarray, step: int) -> str:
    path = folder.nonfinite / f"step_{step:08d}.npz"
    with writing(path):
        folder.nonfinite.mkdir(exist_ok=True)
        np.savez(path, allow_pickle=False, rows=rows, **{n: np.asarray(v) for n, v in batch.items()})
    return str(path)


@dataclass
class _Search:
    """Notes the first module whose input or output holds a number that is not finite."""

    found: str = ""

    def __call__(self, name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if not self.found and not _finite(args):
                self.found = f"what goes into {name} ({type(module).__name__})"
            outputs = call(*args, **kwargs)
            if not self.found and not _finite(outputs):
                self.found = f"the output of {name} ({type(module).__name__})"
            return outputs

        return watched


def _first(program: Program, state: TrainState, raw: Batch, rows: np.ndarray) -> str:
    """Do the update again, one operation after the other, until something is not finite."""
    parts, precision = program.parts, program.precision
    if bad := [name for name, leaf in named_leaves(state.params).items() if not _finite(leaf)]:
        return f"the parameter {bad[0]}, before the step"
    for name, value in flattened(raw).items():
        if not _finite(value):
            return f"{name} of the data{_of_rows(value, rows)}"
    batch, key = prepare(raw, state, parts.preprocess, parts.augment)
    if not _finite(batch["inputs"]):
        wrong = {
            name: value for name, value in flattened({"inputs": batch["inputs"]}).items() if not _finite(value)
        }
        return "; ".join(
            f"the {name}, scaled and augmented{_of_rows(value, rows)}" for name, value in wrong.items()
        )
    model = nnx.merge(program.graphs.train, precision.cast_to_compute(state.params), state.model_state, copy=True)
    if getattr(model, "remat", False):
        model.remat = False  # the search looks at values, and rematerialised blocks are traced
    search = _Search()
    observe(model, search)
    inputs = precision.cast_to_compute(batch["inputs"])
    outputs = precision.cast_to_output(model(inputs, mask=batch["mask"], rngs=nnx.Rngs(dropout=key)))
    if search.found:
        return search.found
    for name, values in named_values(parts.objective.loss(outputs, batch)).items():
        if not _finite(values):
            return f"the {name}{_of_rows(values, rows)}"
    gradients = make_gradients(program.graphs, parts.objective, precision, parts.accumulate)
    terms, _, _, grads = jax.jit(gradients)(state.params, state.model_state, batch, key)
    if bad := [name for name, value in terms.items() if not _finite(value)]:
        return f"the {bad[0]}, summed over the batch"
    if bad := [name for name, leaf in named_leaves(grads).items() if not _finite(leaf)]:
        return f"the gradient of {', '.join(bad[:FEW])}"
    return (
        "nothing; done again, the step is finite (its gradient norm may be too large for float32, or the "
        "optimizer looked at the loss further away)"
    )


def _finite(tree: Any) -> bool:
    floats = (x for x in jax.tree.leaves(tree) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating))
    return all(bool(jnp.isfinite(x).all()) for x in floats)


def _of_rows(values: Any, rows: np.ndarray) -> str:
    """Name the rows of the data whose values are not finite."""
    bad = ~np.isfinite(np.asarray(values, np.float32)).reshape(len(rows), -1).all(1)
    return f" of rows {_few(rows[bad & (rows >= 0)])}"


def _few(rows: np.ndarray) -> str:
    return ", ".join(map(str, rows[:FEW].tolist())) + ", ..." * (len(rows) > FEW)
