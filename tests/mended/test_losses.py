"""Losses keep their precision in float32 for values from 1e-30 to 1e30, except where float32 has no such number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import CASES, B

POWERS = (-30, -20, -10, -5, 0, 5, 10, 20, 30)
SQUARES = ("mse", "huber", "log_cosh")  # of an error e, e² for small e
NUMBERS = [name for name, case in CASES.items() if case[0].__name__ in (*SQUARES, "mae", "quantile", "exponential")]
LOGITS = [
    name
    for name, case in CASES.items()
    if case[0].__name__ in ("cross_entropy", "binary_cross_entropy", "focal", "kl", "hinge", "perceptron")
]


@pytest.fixture(scope="module")
def evaluated(quick):
    """Values and gradients of several losses, compiled as one program for each type."""

    def all_of(names, outputs, targets):
        found = {}
        for name in names:
            loss, options = CASES[name][:2]
            values, back = jax.vjp(lambda z: loss(z, {"targets": targets[name]}, **options), outputs[name])  # noqa: B023
            found[name] = values, back(jnp.ones_like(values))[0]
        return found

    run = jax.jit(all_of, static_argnums=0, compiler_options=quick)

    def evaluate(names, power, dtype, moved):
        outputs, targets = {}, {}
        for name in names:
            _, _, given, wanted, _ = CASES[name]
            outputs[name] = (given * 10.0**power).astype(np.float32).astype(dtype)
            real = wanted.dtype.kind == "f"
            wanted = (wanted * 10.0**power).astype(np.float32) if moved and real else wanted
            targets[name] = wanted.astype(dtype if real else np.int32)
        return jax.tree.map(lambda a: np.asarray(a, np.float64), run(tuple(names), outputs, targets))

    return evaluate


def known_limit(name, power):
    """What float32 cannot hold: e² below 1e-38 and above 3e38, and e^limit times 1e30."""
    loss = CASES[name][0].__name__
    if loss == "mse" and (power >= 20 or (power <= -20 and "one-hot" not in name)):
        return "the square of the error is below 1e-38 or above 3e38"
    if loss in ("huber", "log_cosh") and power <= -20:
        return "the square of the error is below 1e-38"
    if loss == "exponential" and power >= 30:
        return "e^30 times the error is above 3e38"
    return ""


@pytest.mark.parametrize("power", POWERS)
def test_regression_losses_equal_float64(power, evaluated):
    found = evaluated(NUMBERS, power, np.float32, True)
    with jax.enable_x64(True):
        exact = evaluated(NUMBERS, power, np.float64, True)
    for name in NUMBERS:
        (values, gradient), (expected, slope) = found[name], exact[name]
        if known_limit(name, power):
            inside = (np.abs(expected) < 1e-37) | (np.abs(expected) > 1e38)
            assert inside.any(), name
            continue
        np.testing.assert_allclose(values, expected, rtol=3e-6, atol=1e-37, err_msg=f"{name} at 1e{power}")
        np.testing.assert_allclose(gradient, slope, rtol=3e-6, atol=1e-37, err_msg=f"{name} at 1e{power}")


@pytest.mark.parametrize("power", POWERS)
def test_losses_of_logits_equal_float64(power, evaluated):
    """Cross-entropies in float32 are exact to 1e-7 in absolute terms: a smaller loss may be 0."""
    found = evaluated(LOGITS, power, np.float32, False)
    with jax.enable_x64(True):
        exact = evaluated(LOGITS, power, np.float64, False)
    for name in LOGITS:
        (values, gradient), (expected, slope) = found[name], exact[name]
        assert np.isfinite(values).all() and np.isfinite(gradient).all(), name
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=3e-7, err_msg=f"{name} at 1e{power}")
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=3e-7, err_msg=f"{name} at 1e{power}")


@pytest.mark.parametrize("error", [1e-15, 1e-8, 1e-4, 0.3, 0.99, 1.01, 5.0, 100.0, 1e10])
def test_log_cosh_keeps_small_errors(error):
    from dltrain.losses import log_cosh

    found = log_cosh(jnp.full((1, 1), error), {"targets": jnp.zeros((1, 1))})
    x = np.float64(np.float32(error))
    exact = np.log1p(2 * np.sinh(x / 2) ** 2) if x < 20 else x - np.log(2)
    assert float(found[0]) == pytest.approx(exact, rel=1e-6)


def test_the_table_has_every_loss_of_numbers():
    assert {CASES[name][0].__name__ for name in NUMBERS} >= {"mse", "mae", "huber", "log_cosh", "quantile"}
    assert B == 6
