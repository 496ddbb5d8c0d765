"""Config -> objective: the loss, and what stands between the model's outputs and it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dltrain import activations
from dltrain.build.instantiate import bind
from dltrain.build.locate import locate
from dltrain.config import schema
from dltrain.data.preprocess import Preprocess
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.losses.outputs import Outputs, taken_by
from dltrain.tasks import Task
from dltrain.types import Spec

Config = Mapping[str, Any]


def make_objective(config: Config, trust: tuple[str, ...]) -> Objective:
    """Give the loss its options."""
    loss, own = schema.parted("loss", config["loss"])
    return Objective(bind(loss, path="loss", trust=trust, microbatches=config["optim"]["accumulate"]), **own)


def needed_scale(objective: Objective, config: Config, task: Task) -> str | None:
    """Return what `data.scale` must be for this objective, model and task, or None."""
    if taken_by(objective.loss).independent and task.targets_are_inputs:
        return "unit"  # the inputs are the targets, and must lie from 0 to 1
    return schema.parted("model", config["model"])[1]["scale"]


def with_output_activation(
    objective: Objective, preprocess: Preprocess, config: Config, spec: Spec, trust: tuple[str, ...] = ()
) -> tuple[Objective, Preprocess]:
    """Put `model.output_activation` between the model and the loss, or raise ConfigError.

    Metrics of classes take logits, so that they see the outputs before it; metrics of numbers see those behind it.
    """
    name, loss, task = config["model"]["output_activation"], objective.loss, spec.task
    taken = taken_by(loss)
    _check_probabilities(config, spec, taken.outputs, trust)
    if taken.independent and task.metrics_after_activation:
        # Several labels per example, or the inputs themselves: metrics and figures are of numbers from 0 to 1, too.
        if preprocess.scales_targets:
            raise ConfigError(
                f"{_shown(config, 'loss')}: takes targets from 0 to 1, and these are standardised; set "
                "data.scale=unit, symmetric or none"
            )
        preprocess = replace(preprocess, final=activations.sigmoid)
    if not name:
        return objective, preprocess
    _check_activation(name, preprocess, spec, taken.outputs)
    activation = getattr(activations, name)
    seen = {"final": activation} if task.metrics_after_activation else {}
    behind = replace(objective, loss=lambda outputs, batch: loss(activation(outputs), batch))
    return behind, replace(preprocess, **seen)


def _check_probabilities(config: Config, spec: Spec, taken: Outputs, trust: tuple[str, ...]) -> None:
    """Refuse a loss that takes probabilities where neither the model nor an activation makes them.

    A class of models that returns probabilities says so: `returns = "probabilities"`.
    """
    made = "softmax" if spec.outputs > 1 else "sigmoid"
    if taken is not Outputs.PROBABILITIES or config["model"]["output_activation"] == made:
        return
    model = locate(config["model"]["_target_"], path="model", trust=trust)
    if getattr(model, "returns", Outputs.LOGITS) != Outputs.PROBABILITIES:
        raise ConfigError(
            f"{_shown(config, 'loss')}: takes probabilities; set model.output_activation={made}, or take a loss "
            'that begins with logits (loss=auto). A model that returns probabilities has returns = "probabilities"'
        )


def _check_activation(name: str, preprocess: Preprocess, spec: Spec, taken: Outputs) -> None:
    key = f"model.output_activation={name}"
    if not spec.task.supervised:
        raise ConfigError(f"{key}: is for the targets of the data, and this model has none")
    if (name in ("sigmoid", "softmax") or preprocess.final) and taken is Outputs.LOGITS:
        raise ConfigError(f"{key}: this loss begins with logits; leave it out, or take loss=nll or loss=mse")
    if name == "softmax" and spec.outputs == 1:
        raise ConfigError(f"{key}: of a single output is always 1; take sigmoid")
    if preprocess.scales_targets:
        raise ConfigError(f"{key}: the targets are standardised; set data.scale=unit, symmetric or none")


def _shown(config: Config, group: str) -> str:
    """Name a choice by the function that it names: loss=nll."""
    return f"{group}={config[group]['_target_'].rpartition('.')[2]}"
