"""The reconstruction error, and the accuracies of a discriminator."""

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain import metrics

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.parametrize("alone", [True, False])
def test_reconstruction_error_is_the_mean_squared_error(alone):
    rows = np.random.default_rng(0).normal(size=(3, 2, 4, 4, 1)).astype(np.float32)
    found = metrics.reconstruction_error(
        jnp.asarray(rows[0]) if alone else {"reconstruction": jnp.asarray(rows[0]), "code": jnp.zeros((2, 3))},
        {"inputs": jnp.asarray(rows[2]), "targets": jnp.asarray(rows[1])},
    )
    expected = np.square(rows[0].astype(np.float64) - rows[1]).mean((1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_discriminator_accuracies_are_the_share_of_positive_logits():
    real, fake = np.array([2.0, -1.0, 1e-3, np.nan]), np.array([-3.0, 0.0, 0.1, np.nan])
    batch = {"mask": jnp.asarray([True, True, True, False])}
    for name, logits in (("disc_real_accuracy", real), ("disc_fake_accuracy", fake)):
        mean = metrics.Average(getattr(metrics, name))
        state = mean.add(mean.zero(), {"real": jnp.asarray(real), "fake": jnp.asarray(fake)}, batch)
        assert mean.value(state) == pytest.approx((1 / (1 + np.exp(-logits[:3])) > 0.5).mean(), rel=1e-12), name
