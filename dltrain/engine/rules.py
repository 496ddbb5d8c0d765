"""Which parameters are frozen, decayed, or trained at a rate of their own, by regular expression over names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dltrain.engine.state import Tree, path_name


@dataclass(frozen=True)
class Rule:
    """Applies to the parameters whose name (`hidden.0.kernel`) the expression matches anywhere; later rules win."""

    match: str
    freeze: bool = False
    scale: float = 1.0  # a factor of optim.learning_rate

    def matched(self, params: Tree) -> list[str]:
        """List the names it applies to."""
        names = (path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0])
        return [name for name in names if re.search(self.match, name)]


def decayed(params: Tree) -> Tree:
    """Return a tree of bools, True where weight decay and penalties apply: not to biases and scales of norms."""

    def one(path: tuple[Any, ...], leaf: Any) -> bool:
        return leaf.ndim >= 2 and path_name(path).rsplit(".", 1)[-1] not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(one, params)


def apply_rules(rules: Sequence[Rule]) -> optax.GradientTransformation:
    """Multiply the updates by each parameter's own factor; a frozen one stays as it is, whatever its update."""

    def factor(name: str) -> float:
        last = next((rule for rule in reversed(rules) if re.search(rule.match, name)), Rule(""))
        return 0.0 if last.freeze else last.scale

    def update(updates: Tree, state: Any, params: Tree | None = None) -> tuple[Tree, Any]:
        del params

        def one(path: tuple[Any, ...], u: Any) -> Any:
            by = factor(path_name(path))  # adding -0.0 changes no bit, not even of a -0.0
            return jnp.full_like(u, -0.0) if by == 0 else u if by == 1 else u * by

        return jax.tree_util.tree_map_with_path(one, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
