"""Construction of bundles, from a running program and its state or from a run folder, without training data."""

from functools import partial

import jax
import numpy as np

from dltrain.build.model import make_model_parts, make_task
from dltrain.build.objective import make_objective
from dltrain.build.optimizer import make_optimizer
from dltrain.build.program import Program
from dltrain.build.saved import read_saved
from dltrain.config.call import Composed
from dltrain.devices.precision import PRECISIONS
from dltrain.engine import averages
from dltrain.engine.state import TrainState, from_named, initial, trace_module
from dltrain.inference.bundle import Bundle
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder


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
    config, trust = composed.config, composed.trust
    saved = read_saved(folder.model, trust, task=make_task(config, trust))
    objective = make_objective(config, trust)
    parts = make_model_parts(config, trust, objective, saved.spec, saved.preprocess)
    module, graphs = trace_module(parts.make_model)
    precision = PRECISIONS[config["runtime"]["precision"]]
    optimizer, hparams, _ = make_optimizer(config["optim"], trust, whole=True)
    averaged = config["optim"]["ema"] is not None
    make = partial(initial, parts.make_model, optimizer, precision.cast_to_param)
    numbers = {name: np.float32(value) for name, value in hparams.items()}
    shapes = jax.eval_shape(lambda: make(jax.random.key(0), numbers, averaged))
    names = ("params", "model_state", "opt_state", "ema")
    what = f"checkpoint of step {checkpoint.step}"
    trees = from_named({name: getattr(shapes, name) for name in names}, checkpoint.leaves, what=what)
    params, model_state = jax.jit(averages.eval_params)(*(trees[name] for name in names))  # rounds as in the run
    return Bundle(
        spec=parts.spec,
        raw_spec=saved.spec,
        preprocess=parts.preprocess,
        module=module,
        graphs=graphs,
        params=params,
        model_state=model_state,
        precision=precision,
        objective=parts.objective,
        metrics=parts.metrics,
        batch_size=config["eval_batch_size"] or saved.eval_batch_size,
    )
