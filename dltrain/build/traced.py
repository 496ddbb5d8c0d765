"""Which numbers of a config may be traced values, in which the lanes of a program differ; imports no jax itself."""

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from dltrain.config import schema

Config = Mapping[str, Any]

OF_ENGINE = (
    "loss.l1",
    "loss.l2",
    "optim.clip.norm",
    "optim.clip.block",
    "optim.clip.value",
    "optim.clip.adaptive",
    "optim.ema",
    "schedule.warmup_epochs",
)
"""Numbers of the config that no part has as an argument; those of parts are marked with `Traced`."""

HPARAMS = ("learning_rate", "weight_decay")  # of the optimizer, which every state has as leaves


def varied_numbers(config: Config, keys: Collection[str], trust: tuple[str, ...] = ()) -> dict[str, float]:
    """Return those of these keys that may be traced values, with their numbers; zero is a program of its own."""
    found = {key: number for key in sorted(keys) if (number := number_of(config, key))}
    return {key: float(number) for key, number in found.items() if _free(config, key, trust)}


def number_of(config: Config, key: str) -> float | None:
    """Return the number at a key, None if there is none."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def is_evaluated(key: str) -> bool:
    """Tell whether evaluations depend on a number, too: it belongs to the function of the loss."""
    return key.startswith("loss.") and key not in OF_ENGINE


def _free(config: Config, key: str, trust: tuple[str, ...]) -> bool:
    group, _, name = key.partition(".")
    if group not in ("optim", "schedule", "loss", "model") or (group == "optim" and config["optim"]["groups"]):
        return False
    if key in OF_ENGINE:
        return True
    node, _ = schema.split_node(group, config[group])
    if name in HPARAMS or "." in name:
        return False
    targets = importlib.import_module("dltrain.build.instantiate")  # which imports jax
    return name in targets.traceable(node, path=group, trust=trust)
