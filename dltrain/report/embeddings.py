"""The token embeddings that a model has learned, and which tokens are near each other."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem

import jax
import numpy as np
from flax import nnx

from dltrain.build.program import Program
from dltrain.data.vocabulary import SPECIAL
from dltrain.engine.state import TrainState
from dltrain.models.steps import Embedding
from dltrain.runs.projector import visible

NEAREST = 5  # neighbours listed for a token
LISTED = 1000  # tokens whose neighbours are listed; TensorBoard's projector shows all


def token_embeddings(program: Program, state: TrainState) -> dict[str, np.ndarray]:
    """Return the embeddings of all tokens, layer name -> float32 [V, E]; empty for a model without them."""
    layers = [path for path, layer in nnx.iter_modules(program.module) if isinstance(layer, Embedding | nnx.Embed)]
    if not layers:
        return {}
    params, _ = program.eval_params(state)
    found = {}
    for path in layers:
        (table,) = jax.tree.leaves(reduce(getitem, path, params))
        found[".".join(map(str, path))] = np.asarray(table, np.float32)
    return {name: table for name, table in found.items() if len(table) == len(program.parts.spec.vocabulary)}


def nearest(table: np.ndarray, row: int, count: int) -> list[tuple[int, float]]:
    """Return the `count` rows of a table [V, E] most similar to row `row`, and their cosine similarities."""
    lengths = np.linalg.norm(table, axis=1)
    cosines = table @ table[row] / np.maximum(lengths * lengths[row], np.finfo(np.float32).tiny)
    order = np.argsort(-cosines, kind="stable")
    return [(int(k), float(cosines[k])) for k in order[order != row][:count]]


def nearest_tokens(tables: Mapping[str, np.ndarray], tokens: Sequence[str]) -> str:
    """List for each token the nearest others and the cosine similarity of their embeddings, a line per token.

    Special tokens are left out: some are never read, and keep their initial embeddings.
    """
    rows = [row for row, token in enumerate(tokens) if token not in SPECIAL]
    names = [visible(tokens[row]) for row in rows]
    width, left, lines = max(map(len, names[:LISTED])), len(names) - LISTED, []
    for table_name, whole in tables.items():
        table = whole[rows]
        lines.append(f"{table_name}: the nearest tokens, by cosine similarity")
        for row, name in enumerate(names[:LISTED]):
            near = [f"{names[k]} {cosine:.2f}" for k, cosine in nearest(table, row, NEAREST)]
            lines.append(f"{name:<{width}}   {'   '.join(near)}")
        lines += [f"... {left} more tokens are in TensorBoard's projector"] if left > 0 else []
    return "\n".join(lines) + "\n"
