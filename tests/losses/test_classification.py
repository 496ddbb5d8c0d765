"""Classification losses against float64 closed forms, finite differences and PyTorch; extreme outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import BITS, LABELS, LOGIT, LOGITS, MANY, NUMBERS, OWN, PROBABILITIES, SHARES, K, W, cases_of

from dltrain import losses

pytestmark = pytest.mark.usefixtures("unoptimised")

NAMES = cases_of("cross_entropy", "binary_cross_entropy", "focal", "nll", "kl")


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_equal_the_closed_form_in_float64(check_float64, name):
    check_float64(name)


@pytest.mark.parametrize("name", NAMES)
def test_float32_equals_float64(check_float32, name):
    check_float32(name)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("nll")])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_values_and_gradients_are_finite_at_extreme_outputs(check_finite, name, size):
    check_finite(name, size)


@pytest.mark.parametrize(
    ("p", "targets"),
    [
        ([[0, 1], [1, 0]], [0, 0]),
        ([[0, 0, 1], [0, 1, 0]], [1, 1]),
        ([[0, 0, 1], [0, 1, 0]], [[0.0, 1, 0], [0, 1, 0]]),
        ([[0], [1]], [1, 1]),
        ([[1], [0]], [0, 0]),
    ],
)
def test_probabilities_of_zero_and_one_keep_nll_finite(p, targets):
    p = jnp.asarray(p, jnp.float32)
    values, back = jax.vjp(lambda p: losses.nll(p, {"targets": jnp.asarray(targets)}), p)
    np.testing.assert_allclose(values, [-np.log(1e-12), 0], rtol=1e-6)
    assert np.isfinite(back(jnp.ones(2))[0]).all()


def test_kl_is_zero_when_the_distribution_is_met():
    p = jnp.asarray(SHARES[1:], jnp.float32)
    np.testing.assert_allclose(losses.kl(jnp.log(p), {"targets": p}), 0, atol=1e-6)


def test_classes_at_every_position_are_accepted():
    values = losses.cross_entropy(
        jnp.asarray(LOGITS, jnp.float32).reshape(2, 3, K), {"targets": jnp.asarray(LABELS, jnp.int32).reshape(2, 3)}
    )
    np.testing.assert_allclose(values.reshape(-1), -OWN, rtol=1e-5)


def test_sixteen_bit_outputs_are_widened():
    values = losses.cross_entropy(jnp.asarray(LOGITS, jnp.bfloat16), {"targets": jnp.asarray(LABELS, jnp.int32)})
    assert values.dtype == jnp.float32


def test_losses_equal_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    z, y, z1, bits = map(torch.tensor, (LOGITS, LABELS, LOGIT[:, 0], BITS.astype(float)))
    numbers = torch.tensor(NUMBERS)
    share, weights, many = torch.tensor(SHARES), torch.tensor(W), torch.tensor(MANY.astype(float))
    smooth = {"label_smoothing": 0.1, "class_weights": W.tolist()}
    kept = {"reduction": "none"}
    pairs = [
        (losses.cross_entropy, smooth, LOGITS, LABELS, F.cross_entropy(z, y, weights, label_smoothing=0.1, **kept)),
        (
            losses.cross_entropy,
            smooth,
            LOGITS,
            SHARES,
            F.cross_entropy(z, share, weights, label_smoothing=0.1, **kept),
        ),
        (
            losses.binary_cross_entropy,
            {"pos_weight": 2.5},
            LOGIT,
            BITS,
            F.binary_cross_entropy_with_logits(z1, bits, pos_weight=torch.tensor(2.5), **kept),
        ),
        (
            losses.binary_cross_entropy,
            {},
            NUMBERS,
            MANY,
            F.binary_cross_entropy_with_logits(numbers, many, **kept).mean(1),
        ),
        (losses.nll, {}, PROBABILITIES, LABELS, F.nll_loss(F.log_softmax(z, 1), y, **kept)),
        (losses.kl, {}, LOGITS, SHARES, F.kl_div(F.log_softmax(z, 1), share, **kept).sum(1)),
    ]
    with jax.enable_x64(True):
        for loss, options, outputs, targets, expected in pairs:
            values = loss(jnp.asarray(outputs), {"targets": jnp.asarray(targets)}, **options)
            np.testing.assert_allclose(values, expected.numpy(), rtol=1e-10, atol=1e-12, err_msg=loss.__name__)
