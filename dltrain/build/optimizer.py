"""Config -> the optimizer and its schedule: clipping, the update rule, parameter groups, rules by name."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax

from dltrain import schedules
from dltrain.build.instantiate import accepts, bind
from dltrain.callbacks.plateau import Patience
from dltrain.config import schema
from dltrain.engine.state import OptimizerFactory
from dltrain.errors import ConfigError, DltrainError
from dltrain.optimizers.extras import ELSEWHERE, needs
from dltrain.optimizers.groups import every, make_groups
from dltrain.optimizers.rules import Rule, apply_rules, clip_each, decay_by_rules, decayed
from dltrain.types import Array

Node = Mapping[str, Any]
CLIPS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "norm": optax.clip_by_global_norm,
    "block": clip_each,
    "value": optax.clip,
    "adaptive": optax.adaptive_grad_clip,
}


def make_schedule(
    node: Node, per_epoch: int, trust: tuple[str, ...], numbers: Mapping[str, Any] | None = None
) -> tuple[Callable[..., Array], Patience | None]:
    """Bind the schedule; one that takes `scale` follows the monitored metric, as its other arguments say.

    `numbers` take the place of arguments, as in `bind`.
    """
    node, own = schema.split_node("schedule", node)
    numbers = dict(numbers or {})
    if own["warmup_epochs"] is not None:
        if node.get("warmup_steps"):
            both = f"schedule.warmup_epochs={own['warmup_epochs']} schedule.warmup_steps={node['warmup_steps']}"
            raise ConfigError(f"{both}: set only one of them")
        node["warmup_steps"] = round(own["warmup_epochs"] * per_epoch)
        if "schedule.warmup_epochs" in numbers:  # in steps
            numbers["schedule.warmup_steps"] = numbers["schedule.warmup_epochs"]
    takes = accepts(node, path="schedule", trust=trust)
    options = {f.name: takes[f.name] for f in fields(Patience) if f.name in takes}
    return bind(node, path="schedule", trust=trust, numbers=numbers), Patience(
        **options
    ) if "scale" in takes else None


def make_optimizer(
    node: Node, trust: tuple[str, ...], *, whole: bool, numbers: Mapping[str, Any] | None = None
) -> tuple[OptimizerFactory, dict[str, float], tuple[Rule, ...]]:
    """Combine clipping, the update rule, parameter groups and the rules by name.

    Returns the factory, its hyperparameters, and the rules by name.

    Args:
        node: the node `optim`.
        trust: user packages that are allowed besides dltrain.
        whole: whether each batch is the whole training split.
        numbers: values that take the place of arguments, as in `bind`.
    """
    name = node["_target_"].rpartition(".")[2]
    node, own = schema.split_node("optim", node)
    rules = tuple(Rule(**rule) for rule in own["rules"])
    hparams = {n: float(node.pop(n)) for n in ("learning_rate", "weight_decay") if node.get(n) is not None}
    update_rule, takes = _update_rule(node, "optim", trust, numbers)
    if takes.get("minibatch") is False and not whole:
        raise ConfigError(
            f"optim: {name} needs the loss of all training examples: set batch_size=all, or optim.minibatch=true"
        )
    moved = tuple(rule for rule in rules if rule.freeze or rule.scale != 1)
    if inside := bool(moved) and "rules" in takes:
        update_rule = partial(update_rule, rules=apply_rules(moved))
    # Applied last, so that frozen parameters keep their bits.
    kept = tuple(replace(rule, scale=1.0) for rule in rules) if inside else rules
    clips = [
        CLIPS[kind]((numbers or {}).get(f"optim.clip.{kind}", size)) for kind, size in (own["clip"] or {}).items()
    ]
    decays = any(rule.decay != 1 for rule in rules)
    if decays and ("weight_decay" not in hparams or "rules" in takes):
        raise ConfigError(
            f"optim.rules: decay scales optim.weight_decay, but {name} has none, or none apart from its step"
        )
    if (curve := own["weight_decay_schedule"]) != "constant" and ("weight_decay" not in hparams or own["groups"]):
        why = "does not apply to optim.groups" if own["groups"] else f"{name} has no weight decay"
        raise ConfigError(f"optim.weight_decay_schedule={curve}: {why}; set constant")
    groups = {n: _group(node, group, n, trust) for n, group in (own["groups"] or {}).items()}
    if groups and decays:
        raise ConfigError(
            "optim.rules: decay does not apply to optim.groups; set the weight_decay of a group instead"
        )

    def make(values: Mapping[str, Array]) -> optax.GradientTransformation:
        numbers = {n: values[n] for n in hparams}
        if curve != "constant" and "step" in values:
            factor = getattr(schedules, curve)(values["step"], values["total_steps"])
            numbers["weight_decay"] = numbers["weight_decay"] * factor

        def with_decay(factor: float) -> optax.GradientTransformation:
            return update_rule(**{**numbers, "weight_decay": numbers["weight_decay"] * factor})

        main = decay_by_rules(rules, with_decay) if decays else update_rule(**numbers)
        if groups:
            rate = values["learning_rate"] / hparams["learning_rate"]  # the factor of the schedule
            main = make_groups({n: group(numbers, rate) for n, group in groups.items()}, main)
        return optax.chain(*clips, main, *([apply_rules(kept)] if kept else []))

    try:
        wanted = needs(make({n: jnp.float32(v) for n, v in hparams.items()}))
    except DltrainError:
        raise
    except Exception as error:  # arguments of a library's function, which it checks only when it computes
        raise ConfigError(f"optim: {name}: {type(error).__name__}: {error}; check its arguments") from error
    together = bool(wanted & set(ELSEWHERE))
    if together and moved:
        raise ConfigError(
            f"optim.rules: {name} updates all parameters together; it does not support freeze and scale"
        )
    if together and groups:
        raise ConfigError("optim.groups: one of the optimizers updates all parameters together; use sgd, adam, ...")
    return make, hparams, rules


def _update_rule(
    node: Node, path: str, trust: tuple[str, ...], numbers: Mapping[str, Any] | None = None
) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """Bind an optimizer without its hyperparameters, and return its arguments; biases and norms do not decay."""
    takes = accepts(node, path=path, trust=trust)
    masks = {n: decayed for n in ("mask", "weight_decay_mask") if n in takes and n not in node}
    return partial(bind(node, path=path, trust=trust, numbers=numbers), **masks), takes


def _group(
    node: Node, own: Node, name: str, trust: tuple[str, ...]
) -> Callable[[Mapping[str, Array], Array], optax.GradientTransformation]:
    """Bind the optimizer of a parameter group: that of `optim` with the group's options, or another one."""
    own = dict(own)
    steps = own.pop("every", 1)
    rates = {n: own.pop(n) for n in ("learning_rate", "weight_decay") if n in own}
    path = f"optim.groups.{name}"
    rule, takes = _update_rule(own if "_target_" in own else {**node, **own}, path, trust)
    if "rules" in takes:
        raise ConfigError(f"{path}: this optimizer averages all weights, so it cannot train a group of them")

    def make(numbers: Mapping[str, Array], rate: Array) -> optax.GradientTransformation:
        mine = {"learning_rate": rates["learning_rate"] * rate} if "learning_rate" in rates else {}
        decay = {"weight_decay": rates["weight_decay"]} if "weight_decay" in rates else {}
        common = {n: numbers[n] for n in numbers if n == "learning_rate" or "_target_" not in own}
        return every(steps, rule(**{**common, **mine, **decay}))

    return make
