"""Config -> objective: the loss, and what stands between the model's outputs and it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dltrain import activations, losses
from dltrain.build.instantiate import bind
from dltrain.config import schema
from dltrain.data.preprocess import Preprocess
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.types import SELF_SUPERVISED, Spec, Task

Config = Mapping[str, Any]
OF_LOGITS = (losses.cross_entropy, losses.binary_cross_entropy, losses.focal, losses.f1, losses.kl)


def make_objective(config: Config, trust: tuple[str, ...]) -> Objective:
    """Give the loss its options."""
    loss, own = schema.parted("loss", config["loss"])
    return Objective(bind(loss, path="loss", trust=trust, microbatches=config["optim"]["accumulate"]), **own)


def needed_scale(objective: Objective, config: Config) -> str | None:
    """Return what `data.scale` must be for this objective and model, or None."""
    of_bits = getattr(objective.loss, "func", objective.loss) is losses.binary_cross_entropy
    needed = "unit" if of_bits and config["model"]["task"] == Task.RECONSTRUCTION else None
    return needed or schema.parted("model", config["model"])[1]["scale"]


def with_output_activation(
    objective: Objective, preprocess: Preprocess, config: Config, spec: Spec
) -> tuple[Objective, Preprocess]:
    """Put `model.output_activation` between the model and the loss, or raise ConfigError.

    Metrics of classes take logits, so that they see the outputs before it; metrics of numbers see those behind it.
    """
    name, loss = config["model"]["output_activation"], objective.loss
    key, plain = f"model.output_activation={name}", getattr(loss, "func", loss)
    of_probabilities = "softmax" if spec.outputs > 1 else "sigmoid"
    if plain is losses.nll and name != of_probabilities and config["model"]["_target_"].startswith("dltrain."):
        raise ConfigError(
            f"loss=nll: takes probabilities; set model.output_activation={of_probabilities}, or take a loss that "
            "begins with logits (loss=auto)"
        )
    if plain is losses.binary_cross_entropy and spec.task in (Task.REGRESSION, Task.RECONSTRUCTION):
        # Several labels a row, or the inputs themselves: metrics and pictures are of numbers from 0 to 1, too.
        if preprocess.scales_targets:
            raise ConfigError(
                "loss=binary_cross_entropy: takes targets from 0 to 1, and these are standardised; set "
                "data.scale=unit, symmetric or none"
            )
        preprocess = replace(preprocess, final=activations.sigmoid)
    if not name:
        return objective, preprocess
    if spec.task in SELF_SUPERVISED:
        raise ConfigError(f"{key}: is for the targets of the data, and this model has none")
    if (name in ("sigmoid", "softmax") or preprocess.final) and plain in OF_LOGITS:
        raise ConfigError(f"{key}: this loss begins with logits; leave it out, or take loss=nll or loss=mse")
    if name == "softmax" and spec.outputs == 1:
        raise ConfigError(f"{key}: of a single output is always 1; take sigmoid")
    if preprocess.scales_targets:
        raise ConfigError(f"{key}: the targets are standardised; set data.scale=unit, symmetric or none")
    activation = getattr(activations, name)
    seen = {} if spec.task is not Task.REGRESSION else {"final": activation}
    behind = replace(objective, loss=lambda outputs, batch: loss(activation(outputs), batch))
    return behind, replace(preprocess, **seen)
