"""Losses: functions `(outputs, batch, *, options) -> values [B]`, never reduced; the step takes the masked mean.

All take the model outputs (logits unless noted otherwise), compute at least in float32, and are finite, including
gradients, for logits of ±1e4. A label that is not a class gives NaN instead of a plausible value. Shapes are
checked while tracing, where it is free. Options of type float may be traced scalars. Losses do not look at `mask`
(except scores of a whole batch): the engine replaces the content of the padding, see `dltrain.engine.padding`.

Hand-written, since those of optax accept a label of -1, and have no class weights, quantile, f1 or exponential.
"""

from dltrain.losses.classification import binary_cross_entropy, cross_entropy, focal, kl, nll
from dltrain.losses.generative import contrastive_divergence, gan
from dltrain.losses.margin import exponential, hinge, perceptron
from dltrain.losses.ordered import ordinal
from dltrain.losses.regression import huber, log_cosh, mae, mse, poisson, quantile
from dltrain.losses.scores import f1

__all__ = [
    "binary_cross_entropy",
    "contrastive_divergence",
    "cross_entropy",
    "exponential",
    "f1",
    "focal",
    "gan",
    "hinge",
    "huber",
    "kl",
    "log_cosh",
    "mae",
    "mse",
    "nll",
    "ordinal",
    "perceptron",
    "poisson",
    "quantile",
]
