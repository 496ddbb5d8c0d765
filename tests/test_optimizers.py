"""Optimizers against their formulas and PyTorch over ten steps, and every YAML inside the trace."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from omegaconf import OmegaConf

from dltrain import optimizers

CONFIGS = Path(__file__).parents[1] / "configs" / "optim"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
GRADS = np.random.default_rng(0).normal(size=(10, 3))
START = np.array([1.0, -2.0, 0.5])
RATES = np.linspace(0.1, 0.01, 10)  # a learning rate that changes, as under a schedule


def from_yaml(name):
    """The rule that the YAML names, with the YAML's arguments; more may be given, as the engine does."""
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    module, _, function = node.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), function)
    return lambda **more: target(**(node | more))


def path_of(rule, rates=RATES, grads=GRADS, start=START):
    """Parameters after each step in float64; the rule is made anew in every step, with that step's rate."""

    def step(carried, now):
        w, state = carried
        g, rate = now
        updates, state = rule(learning_rate=rate).update(g, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    @jax.jit
    def run(w, grads, rates):
        return jax.lax.scan(step, (w, rule(learning_rate=rates[0]).init(w)), (grads, rates))[1]

    with jax.enable_x64(True):
        return np.asarray(run(start, grads, rates))


def expected_path(rule, rates=RATES, grads=GRADS, start=START):
    """The same by a rule (g, t, memory) -> step in units of the rate, or (g, t, memory, rate) -> step."""
    w, memory, found = start.copy(), {}, []
    for t, (g, rate) in enumerate(zip(grads, rates, strict=True), start=1):
        w = w - rule(g, t, memory, rate)
        found.append(w)
    return np.stack(found)


def running(memory, name, value, decay):
    memory[name] = decay * memory.get(name, 0.0) + (1 - decay) * value
    return memory[name]


def velocity(memory, added):
    memory["v"] = 0.9 * memory.get("v", 0.0) + added
    return memory["v"]


def adagrad(g, t, memory, rate):
    memory["G"] = memory.get("G", 0.0) + g**2
    return rate * g / np.sqrt(memory["G"] + 1e-8)


def adadelta(g, t, memory, rate):
    step = np.sqrt(memory.get("x", 0.0) + 1e-6) / np.sqrt(running(memory, "g", g**2, 0.9) + 1e-6) * g
    running(memory, "x", step**2, 0.9)
    return rate * step


def adam(g, t, memory, rate, *, corrected=True):
    m, v = running(memory, "m", g, 0.9), running(memory, "v", g**2, 0.999)
    if corrected:
        m, v = m / (1 - 0.9**t), v / (1 - 0.999**t)
    return rate * m / (np.sqrt(v) + 1e-8)


def centred(g, t, memory, rate):
    variance = running(memory, "E", g**2, 0.9) - running(memory, "m", g, 0.9) ** 2
    return rate * g / np.sqrt(variance + 1e-8)


def lion(g, t, memory, rate):
    sign = np.sign(0.9 * memory.get("m", 0.0) + 0.1 * g)
    running(memory, "m", g, 0.99)
    return rate * sign


FORMULAS = {
    "sgd": ("sgd", {}, lambda g, t, memory, rate: rate * g),
    "momentum": ("momentum", {}, lambda g, t, memory, rate: rate * velocity(memory, g)),
    "momentum, ema": (
        "momentum",
        {"form": "ema"},
        lambda g, t, memory, rate: rate * velocity(memory, 0.1 * g),
    ),
    "momentum, scaled": ("momentum", {"form": "scaled"}, lambda g, t, memory, rate: velocity(memory, rate * g)),
    "momentum, nesterov": (
        "momentum",
        {"nesterov": True},
        lambda g, t, memory, rate: rate * (g + 0.9 * velocity(memory, g)),
    ),
    "adagrad": ("adagrad", {}, adagrad),
    "adadelta": ("adadelta", {}, adadelta),
    "rmsprop": (
        "rmsprop",
        {},
        lambda g, t, memory, rate: rate * g / np.sqrt(running(memory, "E", g**2, 0.9) + 1e-8),
    ),
    "rmsprop, centred": ("rmsprop", {"centered": True}, centred),
    "rmsprop, centred with momentum": (
        "rmsprop",
        {"centered": True, "momentum": 0.9},
        lambda g, t, memory, rate: velocity(memory, centred(g, t, memory, rate)),
    ),
    "adam": ("adam", {}, adam),
    "adam, plain": (
        "adam",
        {"bias_correction": False},
        lambda g, t, memory, rate: adam(g, t, memory, rate, corrected=False),
    ),
    "lion": ("lion", {"weight_decay": 0.0}, lion),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_ten_steps_follow_the_formula(name):
    yaml, options, rule = FORMULAS[name]
    found = path_of(lambda **more: from_yaml(yaml)(**options, **more))
    np.testing.assert_allclose(found, expected_path(rule), rtol=1e-9)


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


PARAMS = {"kernel": jnp.asarray([[0.5, -1.0], [2.0, 1.5], [-0.3, 0.8]]), "bias": jnp.asarray([0.4, -0.6])}
MASK = {"kernel": True, "bias": False}


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_descends_inside_one_loop_with_a_traced_rate(name):
    rule = from_yaml(name)

    def loss(params):
        return sum(jnp.square(p - 0.1).sum() for p in jax.tree.leaves(params))

    @jax.jit
    def run(rate):
        def step(_, carried):
            params, state = carried
            updates, state = rule(learning_rate=rate).update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 25, step, (PARAMS, rule(learning_rate=rate).init(PARAMS)))

    params, _ = run(jnp.float32(0.02))
    assert float(loss(params)) < float(loss(PARAMS))
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(params))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_yaml_may_be_traced(name):
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    numbers = {k: jnp.float32(v) for k, v in node.items() if isinstance(v, float)}
    assert "learning_rate" in numbers
    rule = from_yaml(name)

    def step(numbers, params):
        optimizer = rule(**numbers)
        return optimizer.update(params, optimizer.init(params), params)

    updates, state = jax.eval_shape(step, numbers, PARAMS)
    assert jax.tree.map(lambda u: u.shape, updates) == jax.tree.map(lambda p: p.shape, PARAMS)
    before = jax.eval_shape(lambda n: rule(**n).init(PARAMS), numbers)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), before) == jax.tree.map(lambda s: (s.shape, s.dtype), state)


@pytest.mark.parametrize("name", ["adamw", "lion", "lamb", "lars", "muon"])
def test_the_mask_spares_biases_from_weight_decay(name):
    @jax.jit
    def step(params):
        rule = from_yaml(name)(learning_rate=0.1, weight_decay=0.5, mask=MASK)
        return rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)[0]

    updates = step(PARAMS)
    assert np.abs(updates["kernel"]).min() > 0 and np.abs(updates["bias"]).max() == 0


@pytest.mark.parametrize("options", [{}, {"form": "ema"}, {"form": "scaled"}])
def test_momentum_keeps_sixteen_bit_parameters_as_they_are(options):
    def step(params):
        rule = optimizers.momentum(jnp.float32(0.1), jnp.float32(0.9), **options)
        return rule.update(params, rule.init(params), params)

    updates, state = jax.eval_shape(step, {"w": jax.ShapeDtypeStruct((3,), jnp.bfloat16)})
    assert updates["w"].dtype == state.velocity["w"].dtype == jnp.bfloat16


def test_the_three_forms_of_momentum_differ_as_they_should():
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


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="'heavy' is not a valid MomentumForm"):
        optimizers.momentum(0.1, form="heavy")


def test_centred_rmsprop_stays_finite_where_rounding_makes_the_variance_negative():
    rule = optimizers.rmsprop(jnp.float32(1e-3), decay=0.5, centered=True)

    def step(state, g):
        updates, state = rule.update(g, state)
        return state, updates

    sizes = np.random.default_rng(0).normal(size=1000) * np.logspace(-3, 4, 1000)
    g = jnp.broadcast_to(jnp.asarray(sizes, jnp.float32), (100, 1000))  # with optax.rmsprop: NaN after 22 steps
    _, updates = jax.lax.scan(step, rule.init(g[0]), g)
    assert np.isfinite(updates).all()
