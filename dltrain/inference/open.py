"""Construction of bundles, from a running program and its state or from a run folder, without training data."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from flax import nnx

from dltrain.build.model import ModelParts, make_model_parts, make_task
from dltrain.build.objective import make_objective
from dltrain.build.optimizer import make_optimizer
from dltrain.build.program import Program
from dltrain.build.saved import SavedModel, read_saved
from dltrain.config.call import Composed
from dltrain.devices.precision import PRECISIONS, Precision
from dltrain.engine import averages
from dltrain.engine.state import Graphs, TrainState, from_named, initial, split_module, trace_module
from dltrain.engine.stateful import fresh
from dltrain.inference.bundle import Bundle
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.tree import Tree


def bundle_of(program: Program, state: TrainState) -> Bundle:
    """Return the trained model of a program in this state."""
    parts = program.parts
    params, model_state = program.eval_params(state)
    return Bundle(
        spec=parts.spec,
        raw_spec=parts.raw_spec,
        preprocess=parts.preprocess,
        module=program.module,
        graphs=program.graphs,
        params=params,
        model_state=model_state,
        precision=program.precision,
        objective=parts.objective,
        metrics=parts.metrics,
        batch_size=program.plan.eval_batch_size,
    )


def open_bundle(folder: RunFolder, composed: Composed, checkpoint: Checkpoint) -> Bundle:
    """Rebuild the model of a run; its data is not read.

    Args:
        folder: the run folder.
        composed: its saved config, checked; changed keys apply to this bundle.
        checkpoint: the checkpoint with the weights.

    Raises:
        CheckpointError: model.json is missing or damaged, or the checkpoint is of another model.
        ConfigError: a part of the config cannot be built.
    """
    shell, config = _read_shell(folder, composed), composed.config
    optimizer, hparams, _ = make_optimizer(config["optim"], composed.trust, whole=True)
    averaged = config["optim"]["ema"] is not None
    make = partial(initial, shell.parts.make_model, optimizer, shell.precision.cast_to_param)
    numbers = {name: np.float32(value) for name, value in hparams.items()}
    shapes = jax.eval_shape(lambda: make(jax.random.key(0), numbers, averaged))
    names = ("params", "model_state", "opt_state", "ema")
    what = f"checkpoint of step {checkpoint.step}"
    trees = from_named({name: getattr(shapes, name) for name in names}, checkpoint.leaves, what=what)
    params, model_state = jax.jit(averages.eval_params)(*(trees[name] for name in names))  # rounds as in the run
    return shell.bundle(params, model_state)


def open_weights(folder: RunFolder, composed: Composed, leaves: Mapping[str, np.ndarray]) -> Bundle:
    """Rebuild a model from its config, model.json and weights, as an exported folder has them.

    Args:
        folder: with model.json.
        composed: the config, checked.
        leaves: the weights to evaluate, by name: `params.head.kernel`, `model_state...`.

    Raises:
        CheckpointError: model.json is missing or damaged, or the weights are of another model.
        ConfigError: a part of the config cannot be built.
    """
    shell = _read_shell(folder, composed)

    def make() -> dict[str, Tree]:
        _, params, model_state = split_module(shell.parts.make_model(nnx.Rngs(params=jax.random.key(0))))
        return {"params": shell.precision.cast_to_param(params), "model_state": fresh(model_state, 1)}

    trees = from_named(jax.eval_shape(make), leaves, what=f"the weights in {folder.path}")
    return shell.bundle(trees["params"], trees["model_state"])


@dataclass(frozen=True, eq=False)
class _Shell:
    """A model without its weights."""

    parts: ModelParts
    saved: SavedModel
    module: nnx.Module
    graphs: Graphs
    precision: Precision
    batch_size: int

    def bundle(self, params: Tree, model_state: Tree) -> Bundle:
        """Return the model with these weights."""
        return Bundle(
            spec=self.parts.spec,
            raw_spec=self.saved.spec,
            preprocess=self.parts.preprocess,
            module=self.module,
            graphs=self.graphs,
            params=params,
            model_state=model_state,
            precision=self.precision,
            objective=self.parts.objective,
            metrics=self.parts.metrics,
            batch_size=self.batch_size,
        )


def _read_shell(folder: RunFolder, composed: Composed) -> _Shell:
    config, trust = composed.config, composed.trust
    saved = read_saved(folder.model, trust, task=make_task(config, trust))
    objective = make_objective(config, trust)
    parts = make_model_parts(config, trust, objective, saved.spec, saved.preprocess)
    module, graphs = trace_module(parts.make_model)
    precision, size = PRECISIONS[config["runtime"]["precision"]], config["eval_batch_size"]
    return _Shell(parts, saved, module, graphs, precision, size or saved.eval_batch_size)
