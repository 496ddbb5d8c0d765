"""Optimizers of their own for parts of a model that play against each other."""

from collections.abc import Mapping
from typing import Any

import optax

from dltrain.errors import ConfigError
from dltrain.tree import Tree

OTHERS = "others"


def every(n: int, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Update on the first of each n steps alone; on the others neither parameters nor moments change."""
    return optax.conditionally_mask(optimizer, lambda step, **_: step % n == 0) if n > 1 else optimizer


def make_groups(
    groups: Mapping[str, optax.GradientTransformation], others: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Give each top-level module of the model that is named its optimizer, and the rest of the model `others`."""

    def labels(params: Tree) -> dict[str, Any]:
        if lost := [name for name in groups if name not in params]:
            raise ConfigError(f"optim.groups.{lost[0]}: the model has no such part, only {', '.join(params)}")
        return {name: name if name in groups else OTHERS for name in params}

    return optax.partition({**groups, OTHERS: others}, labels)
