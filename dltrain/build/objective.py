"""Config -> objective: the loss, and the activation between the model's outputs and the loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dltrain import activations
from dltrain.build.instantiate import bind
from dltrain.build.locate import locate
from dltrain.config import schema
from dltrain.data.preprocess import Preprocess
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.losses.outputs import LossInputs, Outputs, loss_inputs
from dltrain.tasks import Task
from dltrain.types import Array, Batch, Spec

Config = Mapping[str, Any]


def make_objective(config: Config, trust: tuple[str, ...], numbers: Mapping[str, Any] | None = None) -> Objective:
    """Bind the options of the loss; `numbers` take their place, as in `bind`."""
    loss, own = schema.split_node("loss", config["loss"])
    own |= {name: numbers[f"loss.{name}"] for name in own if numbers and f"loss.{name}" in numbers}
    bound = bind(loss, path="loss", trust=trust, numbers=numbers, microbatches=config["optim"]["accumulate"])
    return Objective(bound, **own)


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
    finish: list[Callable[[Any], Any]] = [partial(task.finish, spec=spec)] if _finishes(task) else []
    if task.metrics_after_activation and (own := _of_loss(taken)):
        # Several labels per example, or reconstructions: metrics and figures use values in [0, 1], too. Counts:
        # they use the expected counts.
        if preprocess.target_scaling or (taken.independent and preprocess.scales_targets):
            raise ConfigError(
                f"{_shown(config, 'loss')}: takes {own.targets}, but these are standardised; set "
                f"data.scale=unit, symmetric or none{own.advice}"
            )
        finish.append(own.activation)
    if name:
        _check_activation(name, preprocess, spec, taken.outputs, finished=bool(finish))
        activation = getattr(activations, name)
        finish += [activation] if task.metrics_after_activation else []
        objective = replace(objective, loss=lambda outputs, batch: loss(activation(outputs), batch))
    if has_members(config, trust):
        finish.append(task.combine)
        objective = replace(objective, loss=partial(mean_loss, objective.loss))
    return objective, replace(preprocess, final=partial(_in_turn, tuple(finish))) if finish else preprocess


@dataclass(frozen=True)
class _OfLoss:
    """What makes predictions of the outputs that a loss takes."""

    activation: Callable[[Any], Any]
    targets: str
    advice: str = ""


def _of_loss(taken: LossInputs) -> _OfLoss | None:
    if taken.independent:
        return _OfLoss(activations.sigmoid, "targets from 0 to 1")
    if taken.outputs is Outputs.LOG_MEANS:
        return _OfLoss(jnp.exp, "counts", ", or task=count")
    return None


def _finishes(task: Task) -> bool:
    return type(task).finish is not Task.finish


def _in_turn(functions: Sequence[Callable[[Any], Any]], outputs: Any) -> Any:
    for function in functions:
        outputs = function(outputs)
    return outputs


def has_members(config: Config, trust: tuple[str, ...] = ()) -> bool:
    """Tell whether the model returns outputs of several members, [B, k, ...]: its class has `members = True`."""
    return bool(getattr(locate(config["model"]["_target_"], path="model", trust=trust), "members", False))


def mean_loss(loss: Callable[[Any, Batch], Any], outputs: Array, batch: Batch) -> Any:
    """Return the mean of the losses of k members, outputs [B, k, ...] -> what the loss returns."""
    each = jax.vmap(lambda mine: loss(mine, batch), in_axes=1)(outputs)
    return jax.tree.map(lambda values: values.mean(0), each)


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


def _check_activation(name: str, preprocess: Preprocess, spec: Spec, taken: Outputs, *, finished: bool) -> None:
    key = f"model.output_activation={name}"
    if not spec.task.supervised:
        raise ConfigError(f"{key}: applies to predictions of targets, but this model has no targets")
    if (name in ("sigmoid", "softmax") or finished) and taken is Outputs.LOGITS:
        raise ConfigError(f"{key}: this loss takes logits; remove it, or use loss=nll or loss=mse")
    if name == "softmax" and spec.outputs == 1:
        raise ConfigError(f"{key}: is always 1 for a single output; use sigmoid")
    if finished and taken is Outputs.LOG_MEANS:
        raise ConfigError(f"{key}: this loss takes logarithms, which exp makes counts of; remove it")
    if preprocess.scales_targets:
        raise ConfigError(f"{key}: the targets are standardised; set data.scale=unit, symmetric or none")


def _shown(config: Config, group: str) -> str:
    """Return the choice of a group by the name of its function: loss=nll."""
    return f"{group}={config[group]['_target_'].rpartition('.')[2]}"
