"""Compiled queries to a trained model: its outputs, generated tokens, samples and attention weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import nnx

from dltrain.data.preprocess import Preprocess
from dltrain.devices.precision import Precision
from dltrain.engine.decode import generate_after, generate_from
from dltrain.tree import Tree, widened
from dltrain.types import Array, Batch

Query = Callable[..., Any]
"""`(model, inputs, batch, **options) -> arrays`; `inputs` are preprocessed, `batch` is raw."""


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))  # compiled once per model and query
def run_query(
    query: Query,
    settings: tuple[tuple[str, Any], ...],
    graph: nnx.GraphDef,
    preprocess: Preprocess,
    precision: Precision,
    params: Tree,
    model_state: Tree,
    raw: Batch,
    options: dict[str, Any],
) -> Any:
    """Preprocess a raw batch and apply the query to the model in eval mode.

    `settings` are static options of the query, as (name, value); `options` are
    arrays.
    """
    model = nnx.merge(graph, precision.cast_to_compute(params), model_state, copy=True)
    inputs = precision.cast_to_compute(preprocess.scaled(raw)["inputs"])
    return precision.cast_to_output(query(model, inputs, raw, **dict(settings), **options))


@partial(jax.jit, static_argnums=(0, 1, 5))
def draw(
    graph: nnx.GraphDef, precision: Precision, params: Tree, model_state: Tree, key: Array, count: int
) -> Array:
    """Generate `count` examples from noise, scaled like the model's inputs, [count, ...]."""
    model: Any = nnx.merge(graph, precision.cast_to_compute(params), model_state, copy=True)
    return precision.cast_to_output(model.sample(key, count))


def outputs(model: Any, inputs: Any, batch: Batch, *, finish: Callable[[Any], Any]) -> Any:
    """Return the outputs [B, ...] in float32, passed through `finish`."""
    return finish(widened(model(inputs, mask=batch["mask"], rngs=None)))


def decisions(
    model: Any, inputs: Any, batch: Batch, *, finish: Callable[[Any], Any], decide: Callable[[Any], Any]
) -> Any:
    """Return what the outputs mean, by name, [B, ...] each: class and probabilities, value, mask, ..."""
    return decide(outputs(model, inputs, batch, finish=finish))


def decode(model: Any, inputs: Any, batch: Batch, **options: Any) -> Any:
    """Generate tokens from inputs, int32 [B, L]; options as in `generate_from`."""
    return generate_from(model, inputs, batch["mask"], **options)


def continue_prompts(model: Any, inputs: Any, batch: Batch, **options: Any) -> Any:
    """Generate what follows prompts, int32 [B, length]; options as in `generate_after`."""
    del batch
    return generate_after(model, inputs, **options)


def attention(model: Any, inputs: Any, batch: Batch) -> Any:
    """Return the attention weights, float32 [B, L] or [B, L generated, L]."""
    del batch
    return model.attention(inputs)
