"""Losses of self-supervised models, compared with closed forms in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.losses import contrastive_divergence, gan

pytestmark = pytest.mark.usefixtures("unoptimised")

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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_values_and_gradients_of_gan_equal_numpy_and_finite_differences_in_float64(smoothing):
    real, fake, fooling = np.random.default_rng(0).normal(size=(3, 7)) * 4

    @jax.jit
    def evaluate(*logits):
        outputs = dict(zip(("real", "fake", "fooling"), logits, strict=True))
        values, back = jax.vjp(lambda outputs: gan(outputs, {}, label_smoothing=smoothing), outputs)
        return values, back(jax.tree.map(jnp.ones_like, values))[0]

    def losses(real, fake, fooling):
        believed = (1 - smoothing) * softplus(-real) + smoothing * softplus(real)
        return {"discriminator": believed + softplus(fake), "generator": softplus(-fooling)}

    with jax.enable_x64(True):
        values, gradients = jax.device_get(evaluate(real, fake, fooling))
    for player, expected in losses(real, fake, fooling).items():
        np.testing.assert_allclose(values[player], expected, rtol=1e-12)
    for name, place in {"real": 0, "fake": 1, "fooling": 2}.items():
        step = 1e-6 * np.eye(3)[place][:, None]
        low, high = (sum(losses(real + h[0], fake + h[1], fooling + h[2]).values()) for h in (-step, step))
        np.testing.assert_allclose(gradients[name], (high - low) / 2e-6, rtol=0, atol=1e-6, err_msg=name)


def test_contrastive_divergence_is_a_difference():
    found = contrastive_divergence({"data": jnp.asarray([1.0, 2.0]), "model": jnp.asarray([4.0, 1.5])}, {})
    np.testing.assert_array_equal(found, [-3, 0.5])


def test_missing_outputs_are_named():
    with pytest.raises(ValueError, match="gan: the model must return a dict with real; found an array"):
        gan(jnp.zeros((2, 1)), {})
    with pytest.raises(ValueError, match="must return a dict with data; found energy"):
        contrastive_divergence({"energy": jnp.zeros(2)}, {})
