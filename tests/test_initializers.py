"""Initializers: the distribution that the name promises, on dense and convolution kernels."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain import initializers

pytestmark = pytest.mark.usefixtures("unoptimised")

DENSE, CONV = (150, 100), (3, 3, 60, 30)
FANS = {DENSE: (150, 100), CONV: (540, 270)}
VARIANCE = {
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}
SCALED = [name for name in initializers.__all__ if name.split("_")[0] in VARIANCE]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def drawn():
    """Weights of every initializer without arguments, twice, by one program: {(name, shape): [2, ...]}."""
    wanted = [(name, DENSE) for name in initializers.__all__] + [
        (name, CONV) for name in ("he_normal", "glorot_uniform")
    ]

    @jax.jit
    def draw():
        return [getattr(initializers, name)()(KEY, shape, jnp.float32) for name, shape in wanted]

    return dict(zip(wanted, zip(jax.device_get(draw()), jax.device_get(draw()), strict=True), strict=True))


@pytest.mark.parametrize("name", initializers.__all__)
def test_every_initializer_works_without_arguments_and_is_deterministic(drawn, name):
    weights, again = drawn[name, DENSE]
    assert weights.shape == DENSE and weights.dtype == np.float32 and np.isfinite(weights).all()
    np.testing.assert_array_equal(weights, again)


@pytest.mark.parametrize(
    ("name", "shape"), [(n, DENSE) for n in SCALED] + [("he_normal", CONV), ("glorot_uniform", CONV)]
)
def test_variance_follows_the_fans(drawn, name, shape):
    family, distribution = name.split("_")
    weights, _ = drawn[name, shape]
    variance = VARIANCE[family](*FANS[shape])
    assert abs(weights.mean()) < 4 * np.sqrt(variance / weights.size)
    assert weights.var() == pytest.approx(variance, rel=0.03)
    if distribution == "uniform":
        assert np.abs(weights).max() == pytest.approx(np.sqrt(3 * variance), rel=1e-3)
    else:
        assert np.abs(weights).max() < 2 * np.sqrt(variance) / 0.87  # cut at two standard deviations


def test_standard_deviation_equals_pytorch(drawn):
    torch = pytest.importorskip("torch")
    theirs = torch.empty(100, 150)  # PyTorch's kernels are [outputs, inputs]
    torch.manual_seed(0)
    for ours, make in {
        "glorot_uniform": torch.nn.init.xavier_uniform_,
        "glorot_normal": torch.nn.init.xavier_normal_,
        "he_uniform": lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu"),
        "he_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
    }.items():
        weights, _ = drawn[ours, DENSE]
        assert weights.std() == pytest.approx(float(make(theirs).std()), rel=0.02), ours


def test_constants_are_constant(drawn):
    assert (drawn["zeros", DENSE][0] == 0).all() and (drawn["ones", DENSE][0] == 1).all()
    assert (initializers.constant(0.3)(KEY, (5,), jnp.float32) == np.float32(0.3)).all()


def test_plain_distributions_have_the_given_standard_deviation():
    drawn = np.asarray(initializers.normal(0.2, mean=3.0)(KEY, DENSE, jnp.float32))
    assert drawn.std() == pytest.approx(0.2, rel=0.02) and drawn.mean() == pytest.approx(3, abs=0.01)
    drawn = np.asarray(initializers.uniform(-0.3, 0.1)(KEY, DENSE, jnp.float32))
    assert drawn.min() == pytest.approx(-0.3, abs=1e-3) and drawn.max() == pytest.approx(0.1, abs=1e-3)
    drawn = np.asarray(initializers.truncated_normal(0.2)(KEY, DENSE, jnp.float32))
    assert np.abs(drawn).max() <= 0.4 and drawn.std() == pytest.approx(0.2 * 0.8796, rel=0.02)


@pytest.mark.parametrize("shape", [(8, 20), (3, 3, 4, 20)])
def test_orthogonal_kernels_have_orthonormal_rows_or_columns(shape):
    weights = np.asarray(initializers.orthogonal(2.0)(KEY, shape, jnp.float32)).reshape(-1, shape[-1])
    small = weights.T @ weights if weights.shape[0] > weights.shape[1] else weights @ weights.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_all_names_the_public_factories():
    public = {n for n, f in inspect.getmembers(initializers, inspect.isfunction) if not n.startswith("_")}
    assert public == set(initializers.__all__)
