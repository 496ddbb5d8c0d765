"""Parameter groups: separate optimizers for parts of a model, such as generator and discriminator."""

from collections.abc import Mapping
from typing import Any

import optax

from dltrain.errors import ConfigError
from dltrain.tree import Tree

OTHERS = "others"


def every(n: int, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Update only on the first of every n steps; on the others neither parameters nor moments change."""
    return optax.conditionally_mask(optimizer, lambda step, **_: step % n == 0) if n > 1 else optimizer


def make_groups(
    groups: Mapping[str, optax.GradientTransformation], others: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Use `groups[name]` for the top-level module `name` of the model, and `others` for all other modules."""

    def labels(params: Tree) -> dict[str, Any]:
        if unknown := [name for name in groups if name not in params]:
            raise ConfigError(f"optim.groups.{unknown[0]}: not a part of the model; its parts: {', '.join(params)}")
        return {name: name if name in groups else OTHERS for name in params}

    return optax.partition({**groups, OTHERS: others}, labels)
