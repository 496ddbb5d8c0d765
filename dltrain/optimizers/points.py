"""Optimizers that evaluate the gradient at other points than the weights, or average the weights."""

from typing import Any

import optax
import optax.contrib

from dltrain.ranges import BelowOne, NonNegative, Positive, Traced


def sam(
    learning_rate: Positive,
    rho: Traced[NonNegative] = 0.05,
    momentum: Traced[BelowOne] | None = 0.9,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """Sharpness-aware minimisation: momentum with the gradient at `w + ρ g/‖g‖`. Foret et al., arXiv:2010.01412.

    A step takes two gradients, of the same batch and with the same dropout.
    """
    outer = optax.sgd(learning_rate, momentum, nesterov)
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(rho))
    return optax.contrib.sam(outer, ascent, sync_period=2, opaque_mode=True)


def schedule_free(
    learning_rate: Positive,
    b1: Traced[BelowOne] = 0.9,
    b2: Traced[BelowOne] = 0.999,
    eps: Traced[NonNegative] = 1e-8,
    weight_decay: NonNegative = 0.0,
    mask: Any = None,
    rules: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """AdamW without a schedule: gradients between the iterates and their mean; the mean is evaluated.

    Defazio et al., arXiv:2405.15682. A step has the weight of the square of the highest rate so far in the mean.

    Args:
        learning_rate: constant, or with a warm-up.
        b1: how close to the mean gradients are evaluated; replaces momentum.
        b2: decay of the moving average of the squared gradient.
        eps: added to its root.
        weight_decay: of the point where gradients are evaluated.
        mask: marks parameters with weight decay.
        rules: applied to the steps of the iterates, before averaging.
    """
    inner = optax.chain(
        optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
        rules or optax.identity(),
    )
    return optax.contrib.schedule_free(inner, learning_rate, b1)
