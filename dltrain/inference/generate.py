"""What a model answers beside outputs, losses and metrics: what it writes, what it draws, and where it looks.

All with the weights that a run leaves behind, see `Program.eval_params`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from dltrain.build.program import Program
from dltrain.devices.precision import Precision
from dltrain.engine.decode import generate_after, generate_from
from dltrain.engine.state import TrainState
from dltrain.inference.question import make_question
from dltrain.tree import Tree
from dltrain.types import Batch, Kind, Task

DRAWN = 1000  # examples drawn from noise at once


def writes_text(program: Program) -> bool:
    """Whether the model foretells a text token by token."""
    return program.parts.spec.task is Task.LANGUAGE and hasattr(program.module, "decode")


def draws(program: Program) -> bool:
    """Whether the model draws examples from noise."""
    return hasattr(program.module, "sample")


def attends(program: Program) -> bool:
    """Whether the model can say where it looks."""
    return hasattr(program.module, "attention")


def written(program: Program, state: TrainState, rows: np.ndarray, **options: Any) -> np.ndarray:
    """Return what the model writes about these rows, int32 [N, L]; options as of `engine.decoding.write`."""
    hidden = program.parts.spec.find(Kind.DECODER_TOKENS)
    return _about(program, partial(generate_from, hidden=hidden), state, rows, options)


def attention(program: Program, state: TrainState, rows: np.ndarray) -> np.ndarray:
    """Return where a model with attention looks in these rows, float32 [N, L] or [N, L written, L]."""
    return _about(program, lambda model, inputs, batch: model.attention(inputs), state, rows, {})


def make_writer(program: Program, *, length: int, top_k: int | None = None) -> Callable[..., np.ndarray]:
    """Return `(state, prompts int [B, P], key=..., temperature=...) -> int32 [B, length]` of a language model.

    `key` and `temperature` are those of `engine.decoding.write`.
    """

    def ask(model: Any, inputs: Any, batch: Batch, **options: Any) -> Any:
        del batch
        return generate_after(model, inputs, length=length, top_k=top_k, **options)

    question = make_question(program.graphs, program.parts.preprocess, program.precision, ask)

    def write(state: TrainState, prompts: np.ndarray, **options: Any) -> np.ndarray:
        return np.asarray(question(*program.eval_params(state), {"inputs": prompts}, **options))

    return write


def sample(program: Program, state: TrainState, count: int, *, seed: int = 0) -> np.ndarray:
    """Draw examples from noise, [count, ...], in the units of the data."""
    weights = program.eval_params(state)
    root, made = jax.random.key(seed), []
    for i in range(-(-count // DRAWN)):  # in pieces, so that any number fits into memory
        key = jax.random.fold_in(root, i)
        piece = _draw(program.graphs.eval, program.precision, *weights, key, min(count, DRAWN))
        made.append(np.asarray(program.parts.preprocess.raw_inputs(piece)))
    return np.concatenate(made)[:count]


@partial(jax.jit, static_argnums=(0, 1, 5))  # found compiled whenever the same model draws again
def _draw(
    graph: Any, precision: Precision, params: Tree, model_state: Tree, key: jax.Array, count: int
) -> jax.Array:
    model: Any = nnx.merge(graph, precision.cast_to_compute(params), model_state, copy=True)
    return precision.cast_to_output(model.sample(key, count))


def _about(
    program: Program, ask: Callable[..., Any], state: TrainState, rows: np.ndarray, options: Any
) -> np.ndarray:
    question = make_question(program.graphs, program.parts.preprocess, program.precision, ask)
    batch = {**program.parts.source.read(rows), "mask": np.ones(len(rows), bool)}
    return np.asarray(question(*program.eval_params(state), batch, **options))
