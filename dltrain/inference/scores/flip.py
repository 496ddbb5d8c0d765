"""Test-time augmentation: the mean of what a model predicts for images and for their mirror images."""

from typing import Any

import jax.numpy as jnp

from dltrain.build.program import Program
from dltrain.engine.evaluate import Apply, apply_model
from dltrain.errors import ConfigError
from dltrain.tasks import Level, Task
from dltrain.tasks.task import mean_logits
from dltrain.types import Array, Kind, Spec

ACROSS = 2  # the axis of the columns of an image, [B, H, W, C]
AVERAGED = (Kind.CATEGORY, Kind.LABELS, Kind.NUMBERS)


def check_flip(program: Program) -> None:
    """Raise ConfigError unless the model of a program predicts something of images."""
    spec = program.parts.spec
    task = spec.task
    if not any(feature.kind is Kind.IMAGE for feature in spec.inputs.values()):
        raise ConfigError(f"tta=flip: mirrors images, and the inputs of this run are {spec.shown.kind.words}")
    if task.generates or task.target_kind not in AVERAGED or task.level is Level.STEP:
        raise ConfigError(f"tta=flip: averages predictions of classes or numbers, not those of task={task}")


def flipped(program: Program) -> Apply:
    """Return what takes the mean of the predictions for both from a model; outputs for pixels are turned back.

    Probabilities are averaged, of ordinal classes those of passing each class; numbers as the loss takes them.
    """
    spec, members = program.parts.spec, bool(getattr(program.module, "members", False))

    def apply(model: Any, inputs: Any, mask: Array) -> Any:
        plain = apply_model(model, inputs, mask)
        mirrored = apply_model(model, _mirrored(inputs, spec), mask)
        if spec.task.level is Level.PIXEL:
            mirrored = jnp.flip(mirrored, ACROSS)
        if members:  # the loss and the metrics take the mean over them
            return jnp.concatenate([plain, mirrored], 1)
        both = jnp.stack([plain, mirrored], 1)
        return mean_logits(both) if type(spec.task).finish is not Task.finish else spec.task.combine(both)

    return apply


def _mirrored(inputs: Any, spec: Spec) -> Any:
    if not isinstance(inputs, dict):
        return jnp.flip(inputs, ACROSS)
    images = {name for name, feature in spec.inputs.items() if feature.kind is Kind.IMAGE}
    return {name: jnp.flip(of, ACROSS) if name in images else of for name, of in inputs.items()}
