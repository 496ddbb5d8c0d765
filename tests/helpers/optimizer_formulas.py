"""The formulas of the optimizers in NumPy, and ten steps of each."""

import importlib
from pathlib import Path

import jax
import numpy as np
import optax
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs" / "optim"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
GRADS = np.random.default_rng(0).normal(size=(10, 3))
START = np.array([1.0, -2.0, 0.5])
RATES = np.linspace(0.1, 0.01, 10)  # a learning rate that changes, as under a schedule


def from_yaml(name):
    """The optimizer that the YAML names, with the YAML's arguments and further ones, as from the engine."""
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    module, _, function = node.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), function)
    return lambda **more: target(**(node | more))


def path_of(rule, rates=RATES, grads=GRADS, start=START):
    """Parameters after each step in float64; the rule is built again in every step, with that step's rate."""

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
