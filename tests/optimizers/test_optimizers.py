"""Optimizers against their formulas and PyTorch over ten steps, and every YAML inside the trace."""

import importlib
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from omegaconf import OmegaConf

from dltrain import optimizers
from dltrain.optimizers.extras import extras, needs

CONFIGS = Path(__file__).parents[2] / "configs" / "optim"
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
        memory["w"] = w
        w = w - rule(g, t, memory, rate)
        found.append(w)
    return np.stack(found)


def running(memory, name, value, decay):
    memory[name] = decay * memory.get(name, 0.0) + (1 - decay) * value
    return memory[name]


def velocity(memory, added):
    memory["v"] = 0.9 * memory.get("v", 0.0) + added
    return memory["v"]


def ahead(memory, added):
    """Nesterov's step."""
    return 0.9 * velocity(memory, added) + added


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


def rmsprop(g, t, memory, rate):
    return rate * g / np.sqrt(running(memory, "E", g**2, 0.9) + 1e-8)


def centred(g, t, memory, rate):
    variance = running(memory, "E", g**2, 0.9) - running(memory, "m", g, 0.9) ** 2
    return rate * g / np.sqrt(variance + 1e-8)


def lion(g, t, memory, rate):
    sign = np.sign(0.9 * memory.get("m", 0.0) + 0.1 * g)
    running(memory, "m", g, 0.99)
    return rate * sign


def corrected(memory, g, t, b1=0.9, b2=0.999):
    """Adam's two moments without their bias."""
    return running(memory, "m", g, b1) / (1 - b1**t), running(memory, "v", g**2, b2) / (1 - b2**t)


def adamw(g, t, memory, rate):
    return adam(g, t, memory, rate) + rate * 0.01 * memory["w"]


def nadam(g, t, memory, rate):
    _, v = corrected(memory, g, t)
    m = 0.9 * memory["m"] / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
    return rate * m / (np.sqrt(v) + 1e-8)


def adamax(g, t, memory, rate):
    memory["u"] = np.maximum(0.999 * memory.get("u", 0.0), np.abs(g) + 1e-8)
    return rate * running(memory, "m", g, 0.9) / (1 - 0.9**t) / memory["u"]


def amsgrad(g, t, memory, rate):
    m, v = corrected(memory, g, t)
    memory["top"] = np.maximum(memory.get("top", 0.0), v)
    return rate * m / (np.sqrt(memory["top"]) + 1e-8)


def radam(g, t, memory, rate):
    m, v = corrected(memory, g, t)
    most = 2 / (1 - 0.999) - 1
    length = most - 2 * t * 0.999**t / (1 - 0.999**t)
    if length < 5:
        return rate * m
    r = np.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
    return rate * r * m / (np.sqrt(v) + 1e-8)


def adabelief(g, t, memory, rate):
    m = running(memory, "m", g, 0.9)
    s = running(memory, "s", (g - m) ** 2, 0.999) + 1e-16
    memory["s"] = s
    return rate * m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.999**t)) + 1e-16)


def yogi(g, t, memory, rate):
    memory.setdefault("m", 1e-6)
    v = memory.get("v", 1e-6)
    memory["v"] = v - 0.001 * np.sign(v - g**2) * g**2
    m = running(memory, "m", g, 0.9) / (1 - 0.9**t)
    return rate * m / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-3)


def novograd(g, t, memory, rate):
    size = (g**2).sum()
    memory["v"] = size if t == 1 else 0.25 * memory["v"] + 0.75 * size
    memory["m"] = 0.9 * memory.get("m", 0.0) + g / (np.sqrt(memory["v"]) + 1e-6) + 0.1 * memory["w"]
    return rate * memory["m"]


def lamb(g, t, memory, rate):
    m, v = corrected(memory, g, t)
    step = m / (np.sqrt(v) + 1e-6) + 0.01 * memory["w"]
    return rate * np.linalg.norm(memory["w"]) / np.linalg.norm(step) * step


def layer_wise(g, memory, rate):
    step = g + 1e-4 * memory["w"]
    return rate * 0.001 * np.linalg.norm(memory["w"]) / np.linalg.norm(step) * step


def lars(g, t, memory, rate):
    return velocity(memory, layer_wise(g, memory, rate))


def adafactor(g, t, memory, rate):
    decay = 1 - t**-0.8
    memory["v"] = decay * memory.get("v", 0.0) + (1 - decay) * (g**2 + 1e-30)
    step = g / np.sqrt(memory["v"])
    step /= max(1, np.sqrt((step**2).mean()))
    return rate * max(1e-3, np.sqrt((memory["w"] ** 2).mean())) * step


def schedule_free(g, t, memory, rate):
    """Trains y; z are the iterates and x their weighted mean."""
    y = memory["w"]
    z, x = memory.get("z", y), memory.get("x", y)
    v = running(memory, "v", g**2, 0.999) / (1 - 0.999**t)
    z = z - rate * g / (np.sqrt(v) + 1e-8)
    memory["top"] = max(memory.get("top", 0.0), rate)
    memory["sum"] = memory.get("sum", 0.0) + memory["top"] ** 2
    share = memory["top"] ** 2 / memory["sum"]
    x = (1 - share) * x + share * z
    memory["z"], memory["x"] = z, x
    return y - (0.9 * x + 0.1 * z)


FORMULAS = {
    "gd": ("gd", {}, lambda g, t, memory, rate: rate * g),
    "adamw": ("adamw", {}, adamw),
    "nadam": ("nadam", {}, nadam),
    "adamax": ("adamax", {}, adamax),
    "amsgrad": ("amsgrad", {}, amsgrad),
    "radam": ("radam", {}, radam),
    "adabelief": ("adabelief", {}, adabelief),
    "yogi": ("yogi", {}, yogi),
    "novograd": ("novograd", {"weight_decay": 0.1}, novograd),
    "lamb": ("lamb", {}, lamb),
    "lars": ("lars", {}, lars),
    "adafactor": ("adafactor", {}, adafactor),
    "schedule_free": ("schedule_free", {}, schedule_free),
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
        lambda g, t, memory, rate: rate * ahead(memory, g),
    ),
    "adagrad": ("adagrad", {}, adagrad),
    "adadelta": ("adadelta", {}, adadelta),
    "rmsprop": ("rmsprop", {}, rmsprop),
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
    "lion, with decay": (
        "lion",
        {"weight_decay": 0.1},
        lambda g, t, memory, rate: lion(g, t, memory, rate) + rate * 0.1 * memory["w"],
    ),
    "momentum, ema nesterov": (
        "momentum",
        {"form": "ema", "nesterov": True},
        lambda g, t, memory, rate: rate * ahead(memory, 0.1 * g),
    ),
    "momentum, scaled nesterov": (
        "momentum",
        {"form": "scaled", "nesterov": True},
        lambda g, t, memory, rate: ahead(memory, rate * g),
    ),
    "rmsprop, with momentum": (
        "rmsprop",
        {"momentum": 0.9},
        lambda g, t, memory, rate: velocity(memory, rmsprop(g, t, memory, rate)),
    ),
    "rmsprop, nesterov": (
        "rmsprop",
        {"momentum": 0.9, "nesterov": True},
        lambda g, t, memory, rate: ahead(memory, rmsprop(g, t, memory, rate)),
    ),
    "lars, nesterov": (
        "lars",
        {"nesterov": True},
        lambda g, t, memory, rate: ahead(memory, layer_wise(g, memory, rate)),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_ten_steps_follow_the_formula(name):
    yaml, options, rule = FORMULAS[name]
    found = path_of(lambda **more: from_yaml(yaml)(**options, **more))
    precise = 1e-7 if yaml == "adafactor" else 1e-9  # optax has its decay in float32
    np.testing.assert_allclose(found, expected_path(rule), rtol=precise)


def test_muon_makes_the_momentum_of_a_matrix_orthogonal():
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


def test_large_matrices_share_adafactors_second_moments():
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


# Optimizers that look at the loss: a curved valley, f = Σ (1 - w_i)² + 10 (w_(i+1) - w_i²)².


def valley(w):
    return ((1 - w[:-1]) ** 2 + 10 * (w[1:] - w[:-1] ** 2) ** 2).sum()


def slope(w):
    off, found = w[1:] - w[:-1] ** 2, np.zeros_like(w)
    found[:-1] = 2 * (w[:-1] - 1) - 40 * w[:-1] * off
    found[1:] += 20 * off
    return found


def hessian(w):
    across = np.diag(-40 * w[:-1], 1)
    along = np.append(2 - 40 * (w[1:] - w[:-1] ** 2) + 80 * w[:-1] ** 2, 0) + np.append(0, np.full(len(w) - 1, 20))
    return np.diag(along) + across + across.T


LOOKING = {
    "sam": ("sam", {"rho": 0.3}, RATES / 30),
    "sam, nesterov": ("sam", {"rho": 0.3, "nesterov": True}, RATES / 30),
    "polyak": ("polyak", {"f_min": 5.0}, RATES / 3),
    "newton": ("newton", {"damping": 0.5}, np.linspace(1, 0.5, 10)),
    "lbfgs": ("lbfgs", {"memory_size": 3}, np.ones(10)),
}
VALLEY_START = np.array([-0.1, 1.0, 1.0, 1.5])


@pytest.fixture(scope="module")
def looked(quick):
    """Paths of all of them in float64, by one program."""

    def path(yaml, options, rates):
        def rule(rate):
            return from_yaml(yaml)(learning_rate=rate, **options)

        def step(carried, rate):
            w, state = carried
            value, g = jax.value_and_grad(valley)(w)
            more = extras(rule(rate), value, g, jax.value_and_grad(valley))
            updates, state = rule(rate).update(g, state, w, **more)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        return jax.lax.scan(step, (jnp.asarray(VALLEY_START), rule(rates[0]).init(VALLEY_START)), rates)[1]

    with jax.enable_x64(True):
        paths = jax.jit(lambda: {n: path(*case) for n, case in LOOKING.items()}, compiler_options=quick)()
        return {name: np.concatenate([VALLEY_START[None], found]) for name, found in paths.items()}


@pytest.mark.parametrize("nesterov", [False, True])
def test_ten_steps_of_sam_take_the_gradient_uphill(looked, nesterov):
    def uphill(_, t, memory, rate):
        g = slope(memory["w"])
        g = slope(memory["w"] + 0.3 * g / np.linalg.norm(g))
        return rate * (ahead if nesterov else velocity)(memory, g)

    found = looked["sam, nesterov" if nesterov else "sam"][1:]
    np.testing.assert_allclose(found, expected_path(uphill, rates=RATES / 30, start=VALLEY_START), rtol=1e-9)


def test_ten_steps_of_polyak_follow_the_loss(looked):
    lengths = []

    def polyak(_, t, memory, rate):
        g = slope(memory["w"])
        lengths.append(min(rate, (valley(memory["w"]) - 5) / (g @ g)) / rate)
        return lengths[-1] * rate * g

    expected = expected_path(polyak, rates=RATES / 3, start=VALLEY_START)
    assert min(lengths) < 1 == max(lengths)
    np.testing.assert_allclose(looked["polyak"][1:], expected, rtol=1e-9)


def test_ten_steps_of_newton_divide_by_the_size_of_the_curvature(looked):
    lowest, lengths = [], []

    def newton(_, t, memory, rate):
        w = memory["w"]
        values, vectors = np.linalg.eigh(hessian(w))
        step = rate * vectors @ (vectors.T @ slope(w) / (np.abs(values) + 0.5))
        length = 1.0
        while valley(w - length * step) > valley(w) - 1e-4 * length * slope(w) @ step:
            length /= 2
        lowest.append(values.min())
        lengths.append(length)
        return length * step

    expected = expected_path(newton, rates=LOOKING["newton"][2], start=VALLEY_START)
    assert min(lowest) < 0 < max(lowest) and min(lengths) < 1 == max(lengths)
    np.testing.assert_allclose(looked["newton"][1:], expected, rtol=1e-9)


def test_ten_steps_of_lbfgs_go_along_the_two_loops_direction_and_meet_the_strong_wolfe_conditions(looked):
    path, pairs, lengths = looked["lbfgs"], [], []
    for w, then in itertools.pairwise(path):
        g, after = slope(w), slope(then)
        direction, parts = -g, []
        for s, y in reversed(pairs[-3:]):
            parts.append(s @ direction / (s @ y))
            direction = direction - parts[-1] * y
        s, y = pairs[-1] if pairs else (np.ones(1), np.full(1, max(1, np.linalg.norm(g))))
        direction = s @ y / (y @ y) * direction
        for (s, y), part in zip(pairs[-3:], reversed(parts), strict=True):
            direction = direction + (part - y @ direction / (s @ y)) * s
        length = (then - w) @ direction / (direction @ direction)
        np.testing.assert_allclose(then - w, length * direction, rtol=1e-9)
        assert length > 0 and valley(then) <= valley(w) + 1e-4 * length * g @ direction
        assert abs(after @ direction) <= 0.9 * abs(g @ direction)
        pairs.append((then - w, after - g))
        lengths.append(length)
    assert np.isclose(lengths, 1).any() and not np.isclose(lengths, 1).all()


def test_every_yaml_is_compared_with_its_formula():
    assert {yaml for yaml, *_ in [*FORMULAS.values(), *LOOKING.values()]} | {"muon"} == set(NAMES)


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
            transform = rule(learning_rate=rate)
            value, grads = jax.value_and_grad(loss)(params)
            more = extras(transform, value, grads, jax.value_and_grad(loss))
            updates, state = transform.update(grads, state, params, **more)
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
        more = extras(optimizer, jnp.float32(1), params, lambda p: (jnp.float32(1), p))
        return optimizer.update(params, optimizer.init(params), params, **more)

    updates, state = jax.eval_shape(step, numbers, PARAMS)
    assert jax.tree.map(lambda u: u.shape, updates) == jax.tree.map(lambda p: p.shape, PARAMS)
    before = jax.eval_shape(lambda n: rule(**n).init(PARAMS), numbers)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), before) == jax.tree.map(lambda s: (s.shape, s.dtype), state)


@pytest.mark.parametrize("name", ["adamw", "lion", "lamb", "lars", "muon", "novograd", "schedule_free"])
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


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("adam", set()),
        ("muon", set()),
        ("polyak", {"value"}),
        ("lbfgs", {"value", "grad", "value_fn"}),
        ("newton", {"value", "grad", "value_fn", "grad_fn"}),
        ("sam", {"grad_fn"}),
    ],
)
def test_what_an_optimizer_needs_is_found_within_chains_and_groups(name, wanted):
    rule = from_yaml(name)(learning_rate=0.1)
    assert needs(rule) == wanted
    assert needs(optax.partition({"all": optax.chain(optax.clip(1.0), rule)}, "all")) >= wanted
