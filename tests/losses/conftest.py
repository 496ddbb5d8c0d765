"""Values and gradients of all losses, computed by a few programs, since compilation takes most of the time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import CASES, B

H = 1e-6
WIDEST = max(case[2].shape[-1] for case in CASES.values() if case[2].ndim > 1)


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def evaluated(points, dtype):
    """Compute values and gradients of all losses at several points, by one program."""

    @jax.jit
    def evaluate(outputs, targets):
        found = {}
        for name, (loss, options, *_) in CASES.items():
            batch = {"targets": targets[name]}
            values, back = jax.vjp(lambda z, loss=loss, b=batch, o=options: loss(z, b, **o), outputs[name])
            found[name] = values, back(jnp.ones_like(values))[0]
        return found

    def cast(x):
        return np.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else np.int32)

    targets = {name: cast(case[3]) for name, case in CASES.items()}
    with jax.numpy_dtype_promotion("strict"):
        return [jax.device_get(evaluate({n: cast(z) for n, z in outputs.items()}, targets)) for outputs in points]


@pytest.fixture(scope="session")
def float64():
    """Values and gradients, and values with the j-th output of each example changed by -H and by H."""

    def moved(z, j, by):
        return z + by * (np.arange(z.shape[-1]) == j % z.shape[-1]) if z.ndim > 1 else z + by

    shifts = [(j, s) for j in range(WIDEST) for s in (-1, 1)]
    points = [{n: moved(case[2], j, s * H) for n, case in CASES.items()} for j, s in [(0, 0), *shifts]]
    with jax.enable_x64(True):
        return dict(zip([0, *shifts], evaluated(points, np.float64), strict=True))


@pytest.fixture(scope="session")
def float32():
    plain = {n: case[2] for n, case in CASES.items()}
    points = [plain, *({n: np.sign(z) * size for n, z in plain.items()} for size in (1e4, -1e4))]
    return dict(zip(("plain", 1e4, -1e4), evaluated(points, np.float32), strict=True))


@pytest.fixture
def check_float64(float64):
    """Compare values with the closed form, and gradients with finite differences."""

    def check(name):
        values, gradient = float64[0][name]
        assert values.shape == (B,) and values.dtype == np.float64
        np.testing.assert_allclose(values, CASES[name][4], rtol=1e-6, atol=1e-12)
        gradient = gradient.reshape(B, -1)
        slopes = [(float64[j, 1][name][0] - float64[j, -1][name][0]) / (2 * H) for j in range(gradient.shape[1])]
        np.testing.assert_allclose(gradient, np.stack(slopes, 1), rtol=0, atol=1e-6 * np.abs(gradient).max())

    return check


@pytest.fixture
def check_float32(float32):
    """Compare values with the closed form."""

    def check(name):
        values, _ = float32["plain"][name]
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, CASES[name][4], rtol=2e-5, atol=1e-6)

    return check


@pytest.fixture
def check_finite(float32):
    """Check that values and gradients at extreme outputs are finite."""

    def check(name, size):
        values, gradient = float32[size][name]
        assert np.isfinite(values).all() and np.isfinite(gradient).all()

    return check
