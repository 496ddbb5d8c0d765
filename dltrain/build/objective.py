"""Config -> objective: the loss, and the activation between the model's outputs and the loss."""

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
from dltrain.losses.outputs import Outputs, loss_inputs
from dltrain.tasks import Task
from dltrain.types import Spec

Config = Mapping[str, Any]


def make_objective(config: Config, trust: tuple[str, ...]) -> Objective:
    """Bind the options of the loss."""
    loss, own = schema.split_node("loss", config["loss"])
    return Objective(bind(loss, path="loss", trust=trust, microbatches=config["optim"]["accumulate"]), **own)


def needed_scale(objective: Objective, config: Config, task: Task) -> str | None:
    """Return the `data.scale` that objective, model and task require, or None."""
    if loss_inputs(objective.loss).independent and task.targets_are_inputs:
        return "unit"  # the inputs are the targets, and must be in [0, 1]
    return schema.split_node("model", config["model"])[1]["scale"]


def with_output_activation(
    objective: Objective, preprocess: Preprocess, config: Config, spec: Spec, trust: tuple[str, ...] = ()
) -> tuple[Objective, Preprocess]:
    """Put `model.output_activation` between the model and the loss, or raise ConfigError.

    Classification metrics take logits, the outputs before the activation; regression metrics take those after it.
    """
    name, loss, task = config["model"]["output_activation"], objective.loss, spec.task
    taken = loss_inputs(loss)
    _check_probabilities(config, spec, taken.outputs, trust)
    if taken.independent and task.metrics_after_activation:
        # Several labels per example, or reconstructions: metrics and figures use values in [0, 1], too.
        if preprocess.scales_targets:
            raise ConfigError(
                f"{_shown(config, 'loss')}: takes targets from 0 to 1, but these are standardised; set "
                "data.scale=unit, symmetric or none"
            )
        preprocess = replace(preprocess, final=activations.sigmoid)
    if not name:
        return objective, preprocess
    _check_activation(name, preprocess, spec, taken.outputs)
    activation = getattr(activations, name)
    seen = {"final": activation} if task.metrics_after_activation else {}
    activated = replace(objective, loss=lambda outputs, batch: loss(activation(outputs), batch))
    return activated, replace(preprocess, **seen)


def _check_probabilities(config: Config, spec: Spec, taken: Outputs, trust: tuple[str, ...]) -> None:
    """Raise ConfigError if the loss takes probabilities but neither the model nor an activation returns them.

    A model class that returns probabilities declares it: `returns = "probabilities"`.
    """
    activation = "softmax" if spec.outputs > 1 else "sigmoid"
    if taken is not Outputs.PROBABILITIES or config["model"]["output_activation"] == activation:
        return
    model = locate(config["model"]["_target_"], path="model", trust=trust)
    if getattr(model, "returns", Outputs.LOGITS) != Outputs.PROBABILITIES:
        raise ConfigError(
            f"{_shown(config, 'loss')}: takes probabilities; set model.output_activation={activation}, or use a "
            "loss that takes logits (loss=auto). A model class that returns probabilities sets "
            'returns = "probabilities"'
        )


def _check_activation(name: str, preprocess: Preprocess, spec: Spec, taken: Outputs) -> None:
    key = f"model.output_activation={name}"
    if not spec.task.supervised:
        raise ConfigError(f"{key}: applies to predictions of targets, but this model has no targets")
    if (name in ("sigmoid", "softmax") or preprocess.final) and taken is Outputs.LOGITS:
        raise ConfigError(f"{key}: this loss takes logits; remove it, or use loss=nll or loss=mse")
    if name == "softmax" and spec.outputs == 1:
        raise ConfigError(f"{key}: is always 1 for a single output; use sigmoid")
    if preprocess.scales_targets:
        raise ConfigError(f"{key}: the targets are standardised; set data.scale=unit, symmetric or none")


def _shown(config: Config, group: str) -> str:
    """Return the choice of a group by the name of its function: loss=nll."""
    return f"{group}={config[group]['_target_'].rpartition('.')[2]}"
