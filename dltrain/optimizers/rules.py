"""Which parameters are frozen, decayed, or trained at a rate of their own, by regular expression over names.

And the clipping that optax lacks, of each parameter's gradient by its own norm.
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
    """Applies to the parameters whose name (`hidden.0.kernel`) the expression matches anywhere; later rules win."""

    match: str
    freeze: bool = False
    scale: float = 1.0  # a factor of optim.learning_rate
    decay: float = 1.0  # a factor of optim.weight_decay

    def matched(self, params: Tree) -> list[str]:
        """List the names it applies to."""
        names = (path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0])
        return [name for name in names if re.search(self.match, name)]


def last_match(rules: Sequence[Rule], name: str) -> Rule:
    """Return the rule that counts for a parameter; one that changes nothing where none matches."""
    return next((rule for rule in reversed(rules) if re.search(rule.match, name)), Rule(""))


def decayed(params: Tree) -> Tree:
    """Return a tree of bools, True where weight decay and penalties apply: not to biases and scales of norms."""

    def one(path: tuple[Any, ...], leaf: Any) -> bool:
        return leaf.ndim >= 2 and path_name(path).rsplit(".", 1)[-1] not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(one, params)


def apply_rules(rules: Sequence[Rule]) -> optax.GradientTransformation:
    """Multiply the updates by each parameter's own factor; a frozen one stays as it is, whatever its update."""

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
    """Give each factor of the weight decay that the rules name an optimizer of its own, `make(factor)`."""

    def labels(params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(lambda path, _: last_match(rules, path_name(path)).decay, params)

    return optax.partition({factor: make(factor) for factor in {1.0, *(rule.decay for rule in rules)}}, labels)


def clip_each(bound: float) -> optax.GradientTransformation:
    """Scale the gradient of each parameter down to the norm `bound`, if it is larger."""

    def one(g: Any) -> Any:
        size = norm(g)
        return (g * jnp.minimum(1.0, bound / jnp.maximum(size, 1e-38))).astype(g.dtype)

    return optax.stateless(lambda updates, params: jax.tree.map(one, updates))
