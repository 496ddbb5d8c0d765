"""First-order optimizers that optax does not have, or has with other arguments."""

from enum import StrEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from dltrain.ranges import BelowOne, Finite, NonNegative, Positive, Traced
from dltrain.types import Array


def gd(learning_rate: Positive, minibatch: bool = False) -> optax.GradientTransformation:
    """Full-batch gradient descent: `w -= ηg`; `minibatch` as in `lbfgs`."""
    del minibatch
    return optax.sgd(learning_rate)


def polyak(
    learning_rate: Positive, f_min: Traced[Finite] = 0.0, eps: Traced[NonNegative] = 0.0
) -> optax.GradientTransformation:
    """Gradient descent with rate `(L - f_min) / (‖g‖² + ε)`, at most `learning_rate`; L is the loss of the batch.

    Loizou et al., arXiv:2002.10542.
    """
    return optax.polyak_sgd(learning_rate, f_min=f_min, eps=eps)


class MomentumForm(StrEnum):
    """The update of the velocity v; μ is the momentum, g the gradient, η the learning rate."""

    STANDARD = "standard"  # v = μv + g;       w -= ηv   (PyTorch, optax)
    EMA = "ema"  # v = μv + (1-μ)g;  w -= ηv
    SCALED = "scaled"  # v = μv + ηg;      w -= v    (Polyak; differs from the first once η changes)


class VelocityState(NamedTuple):
    """The state of `momentum`: a tree with the structure of the parameters."""

    velocity: Any


def momentum(
    learning_rate: Positive,
    momentum: Traced[BelowOne] = 0.9,
    nesterov: bool = False,
    form: MomentumForm = MomentumForm.STANDARD,
) -> optax.GradientTransformation:
    """Gradient descent with momentum in one of its three forms.

    With `nesterov` the step is `μv + s` instead of `v`, where s is the last addition to v (Sutskever et al. 2013,
    in the form of PyTorch). Hand-written, since optax has the standard form only.
    """
    form = MomentumForm(form)

    def init(params: optax.Params) -> VelocityState:
        return VelocityState(jax.tree.map(jnp.zeros_like, params))

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, VelocityState]:
        del params

        def added(g: Array) -> Array:
            match form:
                case MomentumForm.STANDARD:
                    return g
                case MomentumForm.EMA:
                    return _like(1 - momentum, g) * g
                case MomentumForm.SCALED:
                    return _like(learning_rate, g) * g

        addition = jax.tree.map(added, updates)
        velocity = jax.tree.map(lambda v, s: _like(momentum, v) * v + s, state.velocity, addition)
        step = velocity
        if nesterov:
            step = jax.tree.map(lambda v, s: _like(momentum, v) * v + s, velocity, addition)
        rate = 1.0 if form is MomentumForm.SCALED else learning_rate
        return jax.tree.map(lambda s: -_like(rate, s) * s, step), VelocityState(velocity)

    return optax.GradientTransformation(init, update)


def _like(number: float, array: Array) -> Array:
    """Convert a number to the dtype of the array, so that a float32 rate does not widen bfloat16 parameters."""
    return jnp.asarray(number, array.dtype)


def adam(
    learning_rate: Positive,
    b1: Traced[BelowOne] = 0.9,
    b2: Traced[BelowOne] = 0.999,
    eps: Traced[NonNegative] = 1e-8,
    bias_correction: bool = True,
) -> optax.GradientTransformation:
    """Adam: `w -= η m̂ / (√v̂ + ε)`; without `bias_correction` with m and v. Kingma, Ba, arXiv:1412.6980."""
    if bias_correction:
        return optax.adam(learning_rate, b1, b2, eps)
    return optax.chain(_scale_by_plain_adam(b1, b2, eps), optax.scale_by_learning_rate(learning_rate))


class MomentsState(NamedTuple):
    """Moving averages of the gradient and of its square: trees with the structure of the parameters."""

    m: Any
    v: Any


def _moments(grads: optax.Updates, state: MomentsState, b1: float, b2: float) -> MomentsState:
    m = jax.tree.map(lambda m, g: _like(b1, m) * m + _like(1 - b1, m) * g, state.m, grads)
    v = jax.tree.map(lambda v, g: _like(b2, v) * v + _like(1 - b2, v) * g * g, state.v, grads)
    return MomentsState(m, v)


def _zero_moments(params: optax.Params) -> MomentsState:
    return MomentsState(jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))


def _scale_by_plain_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, MomentsState]:
        del params
        state = _moments(updates, state, b1, b2)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + _like(eps, v)), state.m, state.v), state

    return optax.GradientTransformation(_zero_moments, update)


def rmsprop(
    learning_rate: Positive,
    decay: Traced[BelowOne] = 0.9,
    eps: Traced[NonNegative] = 1e-8,
    centered: bool = False,
    momentum: Traced[BelowOne] | None = None,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """`E = ρE + (1-ρ)g²; w -= η g/√(E+ε)` (Hinton); `centered` uses the variance E - m² (Graves, arXiv:1308.0850).

    The centred form is hand-written, since that of optax is NaN where rounding makes the variance negative.
    """
    if not centered:
        return optax.rmsprop(learning_rate, decay, eps, momentum=momentum, nesterov=nesterov)
    parts = [_scale_by_deviation(decay, eps), optax.scale_by_learning_rate(learning_rate)]
    if momentum is not None:
        parts.append(optax.trace(momentum, nesterov))
    return optax.chain(*parts)


def _scale_by_deviation(decay: float, eps: float) -> optax.GradientTransformation:
    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, MomentsState]:
        del params
        state = _moments(updates, state, decay, decay)

        def scaled(g: Array, m: Array, v: Array) -> Array:
            return g * jax.lax.rsqrt(jnp.maximum(v - m * m, 0) + _like(eps, g))

        return jax.tree.map(scaled, updates, state.m, state.v), state

    return optax.GradientTransformation(_zero_moments, update)


def lars(
    learning_rate: Positive,
    weight_decay: NonNegative = 1e-4,
    trust_coefficient: Traced[Positive] = 0.001,
    momentum: Traced[BelowOne] = 0.9,
    nesterov: bool = False,
    mask: Any = True,
) -> optax.GradientTransformation:
    """Layer-wise rates, η ‖w‖/‖g‖, for batches of thousands. You et al., arXiv:1708.03888.

    `mask` marks parameters with weight decay and a layer-wise rate: kernels; biases and norms use plain momentum.
    """
    return optax.lars(
        learning_rate,
        weight_decay,
        weight_decay_mask=mask,
        trust_coefficient=trust_coefficient,
        trust_ratio_mask=mask,
        momentum=momentum,
        nesterov=nesterov,
    )


def muon(
    learning_rate: Positive,
    beta: Traced[BelowOne] = 0.95,
    weight_decay: NonNegative = 0.0,
    nesterov: bool = True,
    adam_b1: Traced[BelowOne] = 0.9,
    adam_b2: Traced[BelowOne] = 0.999,
    adam_scale: Traced[NonNegative] = 0.1,
    mask: Any = None,
) -> optax.GradientTransformation:
    """Orthogonalised momentum for matrices; Adam with `adam_scale` times the rate for other parameters.

    Jordan 2024, kellerjordan.github.io/posts/muon.
    """
    return optax.contrib.muon(
        learning_rate,
        beta=beta,
        weight_decay=weight_decay,
        weight_decay_mask=mask,
        nesterov=nesterov,
        adam_b1=adam_b1,
        adam_b2=adam_b2,
        adam_learning_rate=adam_scale * learning_rate,
    )


def novograd(
    learning_rate: Positive,
    b1: Traced[BelowOne] = 0.9,
    b2: Traced[BelowOne] = 0.25,
    eps: Traced[NonNegative] = 1e-6,
    weight_decay: NonNegative = 0.0,
    mask: Any = None,
) -> optax.GradientTransformation:
    """Adam with one second moment per layer. Ginsburg et al., arXiv:1905.11286.

    `mask` marks parameters with weight decay; that of optax decays all.
    """

    def rule(decay: float) -> optax.GradientTransformation:
        return optax.novograd(learning_rate, b1, b2, eps, weight_decay=decay)

    if mask is None:
        return rule(weight_decay)

    def labels(params: optax.Params) -> Any:
        chosen = mask(params) if callable(mask) else mask
        return jax.tree.map(lambda yes: "decayed" if yes else "plain", chosen)

    return optax.partition({"decayed": rule(weight_decay), "plain": rule(0.0)}, labels)
