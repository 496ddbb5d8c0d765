"""Rules that freeze parameters or scale their rate and weight decay, selected by regular expression over names.

Also the clipping that optax does not have: each parameter's gradient by its norm.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dltrain.tree import Tree, norm, path_name


@dataclass(frozen=True)
class Rule:
    """A rule for all parameters whose name (`hidden.0.kernel`) contains a match; the last matching rule counts."""

    match: str
    freeze: bool = False
    scale: float = 1.0  # a factor of optim.learning_rate
    decay: float = 1.0  # a factor of optim.weight_decay

    def matched(self, params: Tree) -> list[str]:
        """Return the names of the matching parameters."""
        names = (path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0])
        return [name for name in names if re.search(self.match, name)]


def last_match(rules: Sequence[Rule], name: str) -> Rule:
    """Return the rule that counts for a parameter; without a match, one that changes nothing."""
    return next((rule for rule in reversed(rules) if re.search(rule.match, name)), Rule(""))


def decayed(params: Tree) -> Tree:
    """Return a tree of bools: True for weight decay and penalties, False for biases and scales of norms."""

    def one(path: tuple[Any, ...], leaf: Any) -> bool:
        return leaf.ndim >= 2 and path_name(path).rsplit(".", 1)[-1] not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(one, params)


def apply_rules(rules: Sequence[Rule]) -> optax.GradientTransformation:
    """Multiply the update of each parameter by its factor; a frozen one keeps its value, whatever its update."""

    def factor(name: str) -> float:
        last = last_match(rules, name)
        return 0.0 if last.freeze else last.scale

    def update(updates: Tree, state: Any, params: Tree | None = None) -> tuple[Tree, Any]:
        del params

        def one(path: tuple[Any, ...], u: Any) -> Any:
            by = factor(path_name(path))  # adding -0.0 changes no bit, not even of a -0.0
            return jnp.full_like(u, -0.0) if by == 0 else u if by == 1 else u * by

        return jax.tree_util.tree_map_with_path(one, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def decay_by_rules(
    rules: Sequence[Rule], make: Callable[[float], optax.GradientTransformation]
) -> optax.GradientTransformation:
    """Use a separate optimizer, `make(factor)`, for each factor of the weight decay in the rules."""

    def labels(params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(lambda path, _: last_match(rules, path_name(path)).decay, params)

    return optax.partition({factor: make(factor) for factor in {1.0, *(rule.decay for rule in rules)}}, labels)


def clip_each(bound: float) -> optax.GradientTransformation:
    """Scale the gradient of each parameter down to the norm `bound` if its norm is larger."""

    def one(g: Any) -> Any:
        size = norm(g)
        return (g * jnp.minimum(1.0, bound / jnp.maximum(size, 1e-38))).astype(g.dtype)

    return optax.stateless(lambda updates, params: jax.tree.map(one, updates))
