"""First-order optimizers against their formulas and PyTorch over ten steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optimizer_formulas import (
    FORMULAS,
    GRADS,
    RATES,
    START,
    VALLEY_START,
    expected_path,
    from_yaml,
    path_of,
    running,
    slope,
    valley,
)

from dltrain import optimizers

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "schedule_free"])
def test_ten_steps_follow_the_formula(name):
    yaml, options, rule = FORMULAS[name]
    found = path_of(lambda **more: from_yaml(yaml)(**options, **more))
    precise = 1e-7 if yaml == "adafactor" else 1e-9  # optax has its decay in float32
    np.testing.assert_allclose(found, expected_path(rule), rtol=precise)


def test_muon_orthogonalises_the_momentum_of_a_matrix():
    grads, start = np.random.default_rng(1).normal(size=(10, 4, 3)), np.random.default_rng(2).normal(size=(4, 3))

    def muon(g, t, memory, rate):
        m = running(memory, "m", g, 0.95)
        x = (0.95 * m / (1 - 0.95 ** (t + 1)) + 0.05 * g / (1 - 0.95**t)).T
        x /= np.linalg.norm(x)
        for _ in range(5):
            square = x @ x.T
            x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
        return rate * np.sqrt(max(1, 3 / 4)) * x.T

    expected = expected_path(muon, grads=grads, start=start)
    np.testing.assert_allclose(path_of(from_yaml("muon"), grads=grads, start=start), expected, rtol=1e-6)


def test_adafactor_factors_second_moments_of_large_matrices():
    grads, start = np.random.default_rng(1).normal(size=(10, 4, 3)), np.random.default_rng(2).normal(size=(4, 3))

    def rule(g, t, memory, rate):
        decay, square = 1 - t**-0.8, g**2 + 1e-30
        for name, axis in (("rows", 1), ("columns", 0)):
            memory[name] = decay * memory.get(name, 0.0) + (1 - decay) * square.mean(axis)
        second = np.outer(memory["rows"], memory["columns"]) / memory["rows"].mean()
        step = g / np.sqrt(second)
        step /= max(1, np.sqrt((step**2).mean()))
        return rate * max(1e-3, np.sqrt((memory["w"] ** 2).mean())) * step

    found = path_of(
        lambda **more: from_yaml("adafactor")(min_dim_size_to_factor=2, **more), grads=grads, start=start
    )
    np.testing.assert_allclose(found, expected_path(rule, grads=grads, start=start), rtol=1e-7)


def test_ten_steps_of_polyak_follow_the_loss(looked):
    lengths = []

    def polyak(_, t, memory, rate):
        g = slope(memory["w"])
        lengths.append(min(rate, (valley(memory["w"]) - 5) / (g @ g)) / rate)
        return lengths[-1] * rate * g

    expected = expected_path(polyak, rates=RATES / 3, start=VALLEY_START)
    assert min(lengths) < 1 == max(lengths)
    np.testing.assert_allclose(looked["polyak"][1:], expected, rtol=1e-9)


def torch_cases(torch):
    """Rules that PyTorch has in the same form; ε is tiny where PyTorch adds it outside the root."""
    tiny = 1e-30
    return {
        "sgd": (torch.optim.SGD, {}, {}),
        "momentum": (torch.optim.SGD, {"momentum": 0.9}, {}),
        "momentum nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, {"nesterov": True}),
        "adam": (torch.optim.Adam, {}, {}),
        "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}, {}),
        "adamax": (torch.optim.Adamax, {}, {}),
        "adadelta": (torch.optim.Adadelta, {}, {}),
        "adagrad": (torch.optim.Adagrad, {"eps": tiny}, {"eps": tiny}),
        "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9, "eps": tiny}, {"eps": tiny}),
        "rmsprop centred": (
            torch.optim.RMSprop,
            {"alpha": 0.9, "eps": tiny, "centered": True},
            {"eps": tiny, "centered": True},
        ),
        "radam": (torch.optim.RAdam, {"eps": tiny}, {"eps": tiny}),
    }


def test_ten_steps_equal_pytorch():
    torch = pytest.importorskip("torch")
    for name, (make, theirs, ours) in torch_cases(torch).items():
        w = torch.tensor(START, requires_grad=True)
        optimizer, expected = make([w], lr=0.1, **({"foreach": False} | theirs)), []
        for g, rate in zip(GRADS, RATES, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            w.grad = torch.tensor(g)
            optimizer.step()
            expected.append(w.detach().numpy().copy())
        rule = from_yaml(name.split()[0])
        found = path_of(lambda rule=rule, ours=ours, **more: rule(**(ours | more)))
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"form": "ema"}, {"form": "scaled"}])
def test_momentum_keeps_the_dtype_of_sixteen_bit_parameters(options):
    def step(params):
        rule = optimizers.momentum(jnp.float32(0.1), jnp.float32(0.9), **options)
        return rule.update(params, rule.init(params), params)

    updates, state = jax.eval_shape(step, {"w": jax.ShapeDtypeStruct((3,), jnp.bfloat16)})
    assert updates["w"].dtype == state.velocity["w"].dtype == jnp.bfloat16


def test_forms_of_momentum_differ_as_documented():
    constant = np.full(10, 0.1)
    standard, ema, scaled = (
        path_of(lambda f=form, **more: from_yaml("momentum")(form=f, **more), rates=constant)
        for form in ("standard", "ema", "scaled")
    )
    np.testing.assert_allclose(standard, scaled, rtol=1e-12)
    np.testing.assert_allclose((START - ema) * 10, START - standard, rtol=1e-12)


def test_golden_momentum_on_single_examples():
    w, b, rule = 0.0, 0.0, optimizers.momentum(0.01, 0.9, form="scaled")
    state = rule.init({"w": jnp.float32(w), "b": jnp.float32(b)})
    x, y = 1.0, 2.0
    g = {"w": jnp.float32(2 * (w * x + b - y) * x), "b": jnp.float32(2 * (w * x + b - y))}
    updates, state = rule.update(g, state)
    np.testing.assert_allclose([updates["w"], updates["b"]], 0.04, rtol=1e-6)
    np.testing.assert_allclose([state.velocity["w"], state.velocity["b"]], -0.04, rtol=1e-6)


def test_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="'heavy' is not a valid MomentumForm"):
        optimizers.momentum(0.1, form="heavy")


def test_centred_rmsprop_is_finite_when_rounding_makes_the_variance_negative():
    rule = optimizers.rmsprop(jnp.float32(1e-3), decay=0.5, centered=True)

    def step(state, g):
        updates, state = rule.update(g, state)
        return state, updates

    sizes = np.random.default_rng(0).normal(size=1000) * np.logspace(-3, 4, 1000)
    g = jnp.broadcast_to(jnp.asarray(sizes, jnp.float32), (100, 1000))  # with optax.rmsprop: NaN after 22 steps
    _, updates = jax.lax.scan(step, rule.init(g[0]), g)
    assert np.isfinite(updates).all()
