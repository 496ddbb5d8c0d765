"""Losses against float64 closed forms, PyTorch and finite differences; extremes; shapes that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain import losses

pytestmark = pytest.mark.usefixtures("unoptimised")

RNG = np.random.default_rng(0)
B, K, T = 6, 4, 3
LOGITS = RNG.normal(size=(B, K)) * 2
LABELS = RNG.integers(0, K, B)
SHARES = RNG.dirichlet(np.ones(K), B)
SHARES[0] = [0, 0, 1, 0]  # p log p at p = 0
LOGIT = RNG.normal(size=(B, 1)) * 2
BITS = np.array([0, 1, 1, 0, 1, 0])
MANY = RNG.integers(0, 2, (B, T))
NUMBERS = RNG.normal(size=(B, T)) * 2
GOALS = RNG.normal(size=(B, T))

LOG_P = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
OWN = LOG_P[np.arange(B), LABELS]
SIGN = 2 * BITS - 1
Z = LOGIT[:, 0]
ERROR = NUMBERS - GOALS
P1 = 1 / (1 + np.exp(-Z))
REST = np.where(np.arange(K) == LABELS[:, None], -np.inf, LOGITS).max(1)
AHEAD = LOGITS[np.arange(B), LABELS] - REST
W = np.array([0.5, 1.0, 2.0, 3.0])
PROBABILITIES = np.exp(LOG_P)


def bce(z, y, w=1.0):
    return -(w * y * np.log(1 / (1 + np.exp(-z))) + (1 - y) * np.log(1 - 1 / (1 + np.exp(-z))))


CASES = {
    "cross_entropy": (losses.cross_entropy, {}, LOGITS, LABELS, -OWN),
    "cross_entropy, probabilities": (losses.cross_entropy, {}, LOGITS, SHARES, -(SHARES * LOG_P).sum(1)),
    "cross_entropy, smoothed": (
        losses.cross_entropy,
        {"label_smoothing": 0.1},
        LOGITS,
        LABELS,
        -0.9 * OWN - 0.1 * LOG_P.mean(1),
    ),
    "cross_entropy, weighted": (
        losses.cross_entropy,
        {"class_weights": W.tolist()},
        LOGITS,
        LABELS,
        -W[LABELS] * OWN,
    ),
    "binary_cross_entropy": (losses.binary_cross_entropy, {}, LOGIT, BITS, bce(Z, BITS)),
    "binary_cross_entropy, flat": (losses.binary_cross_entropy, {}, Z, BITS, bce(Z, BITS)),
    "binary_cross_entropy, pos_weight": (
        losses.binary_cross_entropy,
        {"pos_weight": 3.0},
        LOGIT,
        BITS,
        bce(Z, BITS, 3),
    ),
    "binary_cross_entropy, smoothed": (
        losses.binary_cross_entropy,
        {"label_smoothing": 0.2},
        LOGIT,
        BITS,
        bce(Z, 0.8 * BITS + 0.1),
    ),
    "binary_cross_entropy, labels": (losses.binary_cross_entropy, {}, NUMBERS, MANY, bce(NUMBERS, MANY).mean(1)),
    "focal": (losses.focal, {"gamma": 2.0}, LOGITS, LABELS, -((1 - np.exp(OWN)) ** 2) * OWN),
    "focal, gamma below 1": (losses.focal, {"gamma": 0.5}, LOGITS, LABELS, -np.sqrt(1 - np.exp(OWN)) * OWN),
    "focal, binary": (
        losses.focal,
        {"gamma": 1.5},
        LOGIT,
        BITS,
        np.where(BITS, 1 - P1, P1) ** 1.5 * bce(Z, BITS),
    ),
    "nll": (losses.nll, {}, PROBABILITIES, LABELS, -OWN),
    "nll, distributions": (losses.nll, {}, PROBABILITIES, SHARES, -(SHARES * LOG_P).sum(1)),
    "nll, binary": (losses.nll, {}, P1[:, None], BITS, bce(Z, BITS)),
    "kl": (
        losses.kl,
        {},
        LOGITS,
        SHARES,
        (SHARES * (np.log(np.where(SHARES > 0, SHARES, 1)) - LOG_P)).sum(1),
    ),
    "kl, classes": (losses.kl, {}, LOGITS, LABELS, -OWN),
    "hinge": (losses.hinge, {}, LOGIT, BITS, np.maximum(0, 1 - SIGN * Z)),
    "hinge, classes": (losses.hinge, {}, LOGITS, LABELS, np.maximum(0, 1 - AHEAD)),
    "perceptron": (losses.perceptron, {}, LOGIT, BITS, np.maximum(0, -SIGN * Z)),
    "perceptron, classes": (losses.perceptron, {}, LOGITS, LABELS, np.maximum(0, -AHEAD)),
    "exponential, classes": (losses.exponential, {}, LOGIT, BITS, np.exp(-SIGN * Z)),
    "exponential, numbers": (losses.exponential, {}, NUMBERS, GOALS, np.exp(np.abs(ERROR)).mean(1)),
    "mse": (losses.mse, {}, NUMBERS, GOALS, (ERROR**2).mean(1)),
    "mse, half": (losses.mse, {"half": True}, NUMBERS, GOALS, (ERROR**2).mean(1) / 2),
    "mse, one-hot": (losses.mse, {}, PROBABILITIES, LABELS, ((PROBABILITIES - np.eye(K)[LABELS]) ** 2).mean(1)),
    "mse, flat targets": (losses.mse, {}, NUMBERS[:, :1], GOALS[:, 0], ERROR[:, 0] ** 2),
    "mae": (losses.mae, {}, NUMBERS, GOALS, np.abs(ERROR).mean(1)),
    "huber": (
        losses.huber,
        {"delta": 0.7},
        NUMBERS,
        GOALS,
        np.where(abs(ERROR) <= 0.7, ERROR**2 / 2, 0.7 * (abs(ERROR) - 0.35)).mean(1),
    ),
    "log_cosh": (losses.log_cosh, {}, NUMBERS, GOALS, np.log(np.cosh(ERROR)).mean(1)),
    "quantile": (
        losses.quantile,
        {"q": 0.9},
        NUMBERS,
        GOALS,
        np.where(ERROR < 0, -0.9 * ERROR, 0.1 * ERROR).mean(1),
    ),
}


H = 1e-6
WIDEST = max(case[2].shape[-1] for case in CASES.values() if case[2].ndim > 1)
FROM_LOGITS = [name for name in CASES if not name.startswith("nll")]


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def evaluated(points, dtype):
    """Values and gradients of all losses at several points, by one program: compiling is what takes the time."""

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
    return [jax.device_get(evaluate({n: cast(z) for n, z in outputs.items()}, targets)) for outputs in points]


@pytest.fixture(scope="module")
def float64(strict_promotion):
    """Values and gradients, and values beside: each row's j-th output moved by -H and by H."""

    def moved(z, j, by):
        return z + by * (np.arange(z.shape[-1]) == j % z.shape[-1]) if z.ndim > 1 else z + by

    beside = [(j, s) for j in range(WIDEST) for s in (-1, 1)]
    points = [{n: moved(case[2], j, s * H) for n, case in CASES.items()} for j, s in [(0, 0), *beside]]
    with jax.enable_x64(True):
        return dict(zip([0, *beside], evaluated(points, np.float64), strict=True))


@pytest.fixture(scope="module")
def float32(strict_promotion):
    plain = {n: case[2] for n, case in CASES.items()}
    points = [plain, *({n: np.sign(z) * size for n, z in plain.items()} for size in (1e4, -1e4))]
    return dict(zip(("plain", 1e4, -1e4), evaluated(points, np.float32), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_the_closed_form_in_float64(float64, name):
    values, gradient = float64[0][name]
    assert values.shape == (B,) and values.dtype == np.float64
    np.testing.assert_allclose(values, CASES[name][4], rtol=1e-6, atol=1e-12)
    gradient = gradient.reshape(B, -1)
    slopes = [(float64[j, 1][name][0] - float64[j, -1][name][0]) / (2 * H) for j in range(gradient.shape[1])]
    np.testing.assert_allclose(gradient, np.stack(slopes, 1), rtol=0, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("name", CASES)
def test_float32_equals_float64(float32, name):
    values, _ = float32["plain"][name]
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, CASES[name][4], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", FROM_LOGITS)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_values_and_gradients_are_finite_at_extreme_outputs(float32, name, size):
    values, gradient = float32[size][name]
    assert np.isfinite(values).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["huber", "log_cosh", "mae", "quantile"])
def test_errors_of_any_size_have_a_bounded_gradient(name):
    loss, options, *_ = CASES[name]
    z = jnp.asarray([[1e30], [-1e30]], jnp.float32)
    values, back = jax.vjp(lambda z: loss(z, {"targets": jnp.zeros((2, 1))}, **options), z)
    assert np.isfinite(values).all() and np.abs(back(jnp.ones(2))[0]).max() <= 1


@pytest.mark.parametrize(
    ("loss", "size", "value", "slope"),
    [
        (losses.mse, 1.8e19, 1.8e19**2, 3.6e19),
        (losses.exponential, 3e25, np.exp(30) * (3e25 - 29), np.exp(30)),
    ],
)
def test_errors_are_right_as_long_as_float32_holds_their_loss(loss, size, value, slope):
    z = jnp.asarray([[size], [-size]], jnp.float32)
    values, back = jax.vjp(lambda z: loss(z, {"targets": jnp.zeros((2, 1))}), z)
    np.testing.assert_allclose(values, value, rtol=1e-5)
    np.testing.assert_allclose(back(jnp.ones(2))[0], [[slope], [-slope]], rtol=1e-5)


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


@pytest.mark.parametrize("outputs", [jnp.zeros((2, 1)), jnp.zeros((2, 3))])
def test_perceptron_moves_weights_that_start_at_zero(outputs):
    gradient = jax.grad(lambda z: losses.perceptron(z, {"targets": jnp.asarray([0, 1])}).sum())(outputs)
    right = np.where(np.asarray([0, 1]) == 1, gradient[:, -1], -gradient[:, 0])
    if outputs.shape[1] == 1:
        np.testing.assert_array_equal(gradient[:, 0], [1, -1])
    else:
        np.testing.assert_array_equal(gradient[[0, 1], [0, 1]], [-1, -1])
    assert np.abs(right).max() > 0


def test_exponential_goes_on_as_its_tangent():
    def slope(z):
        return jax.grad(lambda z: losses.exponential(z, {"targets": jnp.asarray([0])}, limit=3.0).sum())(z)[0]

    for z in (2.0, 3.0, 5.0):
        np.testing.assert_allclose(slope(jnp.asarray([z])), np.exp(min(z, 3)), rtol=1e-6)


def test_classes_may_stand_at_every_position():
    values = losses.cross_entropy(
        jnp.asarray(LOGITS, jnp.float32).reshape(2, 3, K), {"targets": jnp.asarray(LABELS, jnp.int32).reshape(2, 3)}
    )
    np.testing.assert_allclose(values.reshape(-1), -OWN, rtol=1e-5)


def test_sixteen_bit_outputs_are_widened():
    values = losses.cross_entropy(jnp.asarray(LOGITS, jnp.bfloat16), {"targets": jnp.asarray(LABELS, jnp.int32)})
    assert values.dtype == jnp.float32


LABELLED = ["cross_entropy", "focal", "mse, one-hot", "hinge, classes", "binary_cross_entropy"]


@pytest.mark.parametrize("wrong", [-1, 99])
def test_a_label_that_is_no_class_gives_nan_and_poisons_no_masked_gradient(wrong):
    mask = np.arange(B) != 2

    def total(z, loss, options, targets):
        values = loss(z, {"targets": jnp.asarray(targets, jnp.int32).at[2].set(wrong)}, **options)
        return jnp.where(mask, values, 0).sum(), values

    @jax.jit
    def evaluate():
        found = {}
        for name in LABELLED:
            loss, options, outputs, targets, _ = CASES[name]
            z = jnp.asarray(outputs, jnp.float32)
            found[name] = jax.value_and_grad(total, has_aux=True)(z, loss, options, targets)
        return found

    for name, ((_, values), gradient) in evaluate().items():
        np.testing.assert_array_equal(np.isnan(values), ~mask, err_msg=name)
        assert np.isfinite(gradient).all(), name


MISFITS = [
    (losses.cross_entropy, (B, 1), (B,), "int32", r"outputs float32\[6, 1\].*int32\[6\].*binary_cross_entropy"),
    (losses.cross_entropy, (B, K), (B, 1), "int32", r"expected .*int \[B\].*found .*int32\[6, 1\]"),
    (losses.cross_entropy, (B, K), (B, K), "int32", r"found .*int32\[6, 4\]"),
    (losses.cross_entropy, (B, K), (B, 3), "float32", r"float32\[6, 3\]"),
    (losses.binary_cross_entropy, (B, K), (B,), "int32", r"cross_entropy: .*\[6, 4\].*loss=cross_entropy"),
    (losses.mse, (B, 3), (B, 2), "float32", r"mse: expected .*\[6, 3\].*\[6, 2\]"),
    (losses.mse, (B, 3), (B,), "float32", r"mse: expected .*\[6, 3\].*\[6\]"),
    (losses.hinge, (B, 1), (B, 1), "float32", r"hinge: expected targets int"),
    (losses.focal, (B, K), (B, K), "float32", r"focal: expected targets int"),
]


@pytest.mark.parametrize(("loss", "outputs", "targets", "dtype", "message"), MISFITS)
def test_shapes_that_do_not_fit_are_refused_while_tracing(loss, outputs, targets, dtype, message):
    batch = {"targets": jax.ShapeDtypeStruct(targets, dtype)}
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(loss, jax.ShapeDtypeStruct(outputs, "float32"), batch)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (losses.cross_entropy, {"label_smoothing": 1.5}, r"label_smoothing=1.5 must lie in 0\.\.1"),
        (losses.cross_entropy, {"class_weights": [1.0]}, "class_weights has 1 values for 4 classes"),
        (losses.quantile, {"q": 2}, r"q=2 must lie in 0\.\.1"),
    ],
)
def test_impossible_options_are_refused(loss, options, message):
    batch = {"targets": jnp.asarray(LABELS, jnp.int32)}
    with pytest.raises(ValueError, match=message):
        loss(jnp.asarray(LOGITS, jnp.float32), batch, **options)


def test_numbers_may_be_traced(float32):
    names = [n for n, case in CASES.items() if any(isinstance(v, float) for v in case[1].values())]
    assert len(names) > 6

    @jax.jit
    def evaluate(options):
        found = {}
        for name in names:
            loss, _, outputs, targets, _ = CASES[name]
            targets = jnp.asarray(targets, jnp.float32 if targets.dtype == np.float64 else jnp.int32)
            found[name] = loss(jnp.asarray(outputs, jnp.float32), {"targets": targets}, **options[name])
        return found

    for name, values in evaluate({name: CASES[name][1] for name in names}).items():
        np.testing.assert_allclose(values, float32["plain"][name][0], rtol=1e-6, err_msg=name)


def test_losses_equal_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    z, y, z1, bits = map(torch.tensor, (LOGITS, LABELS, LOGIT[:, 0], BITS.astype(float)))
    numbers, goals = torch.tensor(NUMBERS), torch.tensor(GOALS)
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
        (losses.mse, {}, NUMBERS, GOALS, F.mse_loss(numbers, goals, **kept).mean(1)),
        (losses.mae, {}, NUMBERS, GOALS, F.l1_loss(numbers, goals, **kept).mean(1)),
        (losses.huber, {"delta": 0.7}, NUMBERS, GOALS, F.huber_loss(numbers, goals, delta=0.7, **kept).mean(1)),
        (losses.nll, {}, PROBABILITIES, LABELS, F.nll_loss(F.log_softmax(z, 1), y, **kept)),
        (losses.kl, {}, LOGITS, SHARES, F.kl_div(F.log_softmax(z, 1), share, **kept).sum(1)),
    ]
    with jax.enable_x64(True):
        for loss, options, outputs, targets, expected in pairs:
            values = loss(jnp.asarray(outputs), {"targets": jnp.asarray(targets)}, **options)
            np.testing.assert_allclose(values, expected.numpy(), rtol=1e-10, atol=1e-12, err_msg=loss.__name__)
