"""Losses of generative models, without targets: the outputs of the model are a dict of named terms."""

from collections.abc import Mapping

import jax

from dltrain.losses.targets import widened
from dltrain.ranges import Probability, Traced
from dltrain.types import Array, Batch


def gan(
    outputs: Mapping[str, Array], batch: Batch, *, label_smoothing: Traced[Probability] = 0.0
) -> dict[str, Array]:
    """`-log D(x) - log(1 - D(G(z)))` of the discriminator, `-log D(G(z))` of the generator: logits [B] -> [B] each.

    The loss of the generator is the non-saturating form. Goodfellow et al., arXiv:1406.2661.

    Args:
        outputs: logits `real`, `fake` and `fooling`; the model controls which gradient goes where.
        batch: not used.
        label_smoothing: ε in 0..1: the target of real examples is 1-ε (Salimans et al., arXiv:1606.03498).
    """
    del batch
    real, fake, fooling = (widened(_of("gan", outputs, name)) for name in ("real", "fake", "fooling"))
    believed = jax.nn.softplus(-real) + label_smoothing * real  # = (1-ε) softplus(-z) + ε softplus(z)
    return {"discriminator": believed + jax.nn.softplus(fake), "generator": jax.nn.softplus(-fooling)}


def contrastive_divergence(outputs: Mapping[str, Array], batch: Batch) -> Array:
    """`F(v) - F(v_k)`, free energies of an example and of the end of its chain: [B] -> [B]. Hinton 2002."""
    del batch
    data, model = (widened(_of("contrastive_divergence", outputs, name)) for name in ("data", "model"))
    return data - model


def _of(loss: str, outputs: Mapping[str, Array], name: str) -> Array:
    if not isinstance(outputs, Mapping) or name not in outputs:
        found = ", ".join(outputs) if isinstance(outputs, Mapping) else "an array"
        raise ValueError(f"{loss}: the model must return a dict with {name}; found {found}")
    return outputs[name]
