"""Config -> the optimizer and its schedule: clipping, the update rule, groups, rules by name."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax

from dltrain.build.instantiate import accepts, bind
from dltrain.callbacks.plateau import Patience
from dltrain.config import schema
from dltrain.engine.state import OptimizerFactory
from dltrain.errors import ConfigError
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
    node: Node, per_epoch: int, trust: tuple[str, ...]
) -> tuple[Callable[..., Array], Patience | None]:
    """Bind the schedule; one that takes `scale` follows the monitored number, by its other arguments."""
    node, own = schema.parted("schedule", node)
    if own["warmup_epochs"] is not None:
        if node.get("warmup_steps"):
            both = f"schedule.warmup_epochs={own['warmup_epochs']} schedule.warmup_steps={node['warmup_steps']}"
            raise ConfigError(f"{both}: give one of them")
        node["warmup_steps"] = round(own["warmup_epochs"] * per_epoch)
    takes = accepts(node, path="schedule", trust=trust)
    options = {f.name: takes[f.name] for f in fields(Patience) if f.name in takes}
    return bind(node, path="schedule", trust=trust), Patience(**options) if "scale" in takes else None


def make_optimizer(
    node: Node, trust: tuple[str, ...], *, whole: bool
) -> tuple[OptimizerFactory, dict[str, float], tuple[Rule, ...]]:
    """Put clipping, the update rule, groups and the rules by name together.

    Returns the factory, the numbers that it takes, and the rules by name.

    Args:
        node: the node `optim`.
        trust: packages that parts may come from beside dltrain's own.
        whole: whether each batch is all there is to train on.
    """
    name = node["_target_"].rpartition(".")[2]
    node, own = schema.parted("optim", node)
    rules = tuple(Rule(**rule) for rule in own["rules"])
    hparams = {n: float(node.pop(n)) for n in ("learning_rate", "weight_decay") if node.get(n) is not None}
    update_rule, takes = _update_rule(node, "optim", trust)
    if takes.get("minibatch") is False and not whole:
        raise ConfigError(
            f"optim: {name} is for the loss of all training rows: set batch_size=all, or optim.minibatch=true"
        )
    moved = tuple(rule for rule in rules if rule.freeze or rule.scale != 1)
    if inside := bool(moved) and "rules" in takes:
        update_rule = partial(update_rule, rules=apply_rules(moved))
    kept = tuple(replace(rule, scale=1.0) for rule in rules) if inside else rules  # what is frozen keeps its bits
    clips = [CLIPS[kind](size) for kind, size in (own["clip"] or {}).items()]
    decays = any(rule.decay != 1 for rule in rules)
    if decays and ("weight_decay" not in hparams or "rules" in takes):
        raise ConfigError(
            f"optim.rules: decay is a factor of optim.weight_decay, which {name} has not, or not apart"
        )
    groups = {n: _group(node, group, n, trust) for n, group in (own["groups"] or {}).items()}
    if groups and decays:
        raise ConfigError("optim.rules: decay does not reach into optim.groups; set a group's own weight_decay")

    def make(values: Mapping[str, Array]) -> optax.GradientTransformation:
        numbers = {n: values[n] for n in hparams}

        def with_decay(factor: float) -> optax.GradientTransformation:
            return update_rule(**{**numbers, "weight_decay": numbers["weight_decay"] * factor})

        main = decay_by_rules(rules, with_decay) if decays else update_rule(**numbers)
        if groups:
            rate = values["learning_rate"] / hparams["learning_rate"]  # what the schedule makes of any rate
            main = make_groups({n: group(numbers, rate) for n, group in groups.items()}, main)
        return optax.chain(*clips, main, *([apply_rules(kept)] if kept else []))

    together = bool(needs(make({n: jnp.float32(v) for n, v in hparams.items()})) & set(ELSEWHERE))
    if together and moved:
        raise ConfigError(f"optim.rules: {name} moves all parameters together; freeze and scale do not go with it")
    if together and groups:
        raise ConfigError("optim.groups: one of the optimizers moves all parameters together; take sgd, adam, ...")
    return make, hparams, rules


def _update_rule(node: Node, path: str, trust: tuple[str, ...]) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """Bind an optimizer, which waits for its numbers, and say what it takes; biases and norms do not decay."""
    takes = accepts(node, path=path, trust=trust)
    masks = {n: decayed for n in ("mask", "weight_decay_mask") if n in takes and n not in node}
    return partial(bind(node, path=path, trust=trust), **masks), takes


def _group(
    node: Node, own: Node, name: str, trust: tuple[str, ...]
) -> Callable[[Mapping[str, Array], Array], optax.GradientTransformation]:
    """Bind a group's optimizer: the common one, or another, with what the group has of its own."""
    own = dict(own)
    steps = own.pop("every", 1)
    rates = {n: own.pop(n) for n in ("learning_rate", "weight_decay") if n in own}
    path = f"optim.groups.{name}"
    rule, takes = _update_rule(own if "_target_" in own else {**node, **own}, path, trust)
    if "rules" in takes:
        raise ConfigError(f"{path}: this optimizer keeps a mean of all weights, and cannot train a part of them")

    def make(numbers: Mapping[str, Array], rate: Array) -> optax.GradientTransformation:
        mine = {"learning_rate": rates["learning_rate"] * rate} if "learning_rate" in rates else {}
        decay = {"weight_decay": rates["weight_decay"]} if "weight_decay" in rates else {}
        common = {n: numbers[n] for n in numbers if n == "learning_rate" or "_target_" not in own}
        return every(steps, rule(**{**common, **mine, **decay}))

    return make
