"""A run described in TensorBoard: its config as text, its modules as a graph, its hyperparameters."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from dltrain.build.program import Program
from dltrain.runs.graph import graph_def
from dltrain.runs.recorder import Recorder

HPARAMS = ("seed", "batch_size", "epochs", "steps")
GROUPS = ("data", "model", "loss", "optim", "schedule")


def describe(
    recorder: Recorder, program: Program, *, config: Mapping[str, Any], choices: Mapping[str, str], text: str
) -> None:
    """Write what is known before the first step."""
    writer, spec = recorder.writer(), program.parts.spec
    writer.text(0, "config", f"```yaml\n{text}\n```")
    graphs = []

    def trace() -> int:  # the constructor's own module has its attributes in order; a merged one has them sorted
        graphs.append(graph_def(program.parts.make_model(nnx.Rngs(0)), spec.shown.shape, (spec.outputs,)))
        return 0

    jax.eval_shape(trace)
    writer.graph(graphs[0])
    writer.hparams(_hparams(config, choices))


def _hparams(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """Return what a sweep may vary: the choices, and every option of model, loss, optimizer and schedule."""
    found: dict[str, Any] = {g: choices[g] for g in GROUPS if g in choices}
    found |= {name: config[name] for name in HPARAMS if config.get(name) is not None}
    for group in ("model", "loss", "optim", "schedule"):
        for name, value in config[group].items():
            if name != "_target_" and value is not None:
                found[f"{group}.{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
