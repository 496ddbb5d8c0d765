"""Losses of models that teach themselves, beside closed forms in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.losses import contrastive_divergence, gan

LOGITS = np.array([-1e4, -3.0, 0.0, 0.7, 1e4])


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gan_is_the_sum_of_two_cross_entropies_and_stays_finite(smoothing):
    real, fake, fooling = (np.roll(LOGITS, n).astype(np.float32) for n in range(3))
    found = gan(
        {"real": jnp.asarray(real), "fake": jnp.asarray(fake), "fooling": jnp.asarray(fooling)},
        {},
        label_smoothing=smoothing,
    )
    z = real.astype(np.float64)
    expected = (1 - smoothing) * softplus(-z) + smoothing * softplus(z) + softplus(fake.astype(np.float64))
    np.testing.assert_allclose(found["discriminator"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["generator"], softplus(-fooling.astype(np.float64)), rtol=1e-6)


def test_contrastive_divergence_is_a_difference():
    found = contrastive_divergence({"data": jnp.asarray([1.0, 2.0]), "model": jnp.asarray([4.0, 1.5])}, {})
    np.testing.assert_array_equal(found, [-3, 0.5])


def test_other_outputs_are_answered_with_what_is_needed():
    with pytest.raises(ValueError, match="gan: the model must return a dict with real; found an array"):
        gan(jnp.zeros((2, 1)), {})
    with pytest.raises(ValueError, match="must return a dict with data; found energy"):
        contrastive_divergence({"energy": jnp.zeros(2)}, {})
    with pytest.raises(ValueError, match="label_smoothing=2"):
        gan({n: jnp.zeros(2) for n in ("real", "fake", "fooling")}, {}, label_smoothing=2)
