"""Schedules against PyTorch and optax, at both ends, with warm-up, and inside the trace."""

import functools
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from omegaconf import OmegaConf

from dltrain import schedules

pytestmark = pytest.mark.usefixtures("unoptimised")

CONFIGS = Path(__file__).parents[1] / "configs" / "schedule"
TOTAL = 70


def factors(schedule, total=TOTAL, upto=None, warmup_steps=0, **options):
    """The factor of each update, float64 [upto], with step, total and warm-up traced."""
    hashable = tuple((n, tuple(v) if isinstance(v, list) else v) for n, v in options.items())
    found = program(schedule, hashable)(jnp.arange(3 * TOTAL), jnp.int32(total), jnp.int32(warmup_steps))
    assert found.dtype == jnp.float32
    return np.asarray(found, np.float64)[: total if upto is None else upto]


@functools.cache
def program(schedule, options):
    """One compilation for each choice of options."""

    def one(step, total, warmup):
        return schedule(step, total, warmup_steps=warmup, **dict(options))

    return jax.jit(jax.vmap(one, (0, None, None)))


def from_yaml(name):
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    module, _, function = node.pop("_target_").rpartition(".")
    assert module == "dltrain.schedules"
    return getattr(schedules, function), node


@pytest.mark.parametrize("name", schedules.__all__)
def test_every_schedule_has_a_yaml_with_all_its_defaults(name):
    schedule, node = from_yaml(name)
    parameters = inspect.signature(schedule).parameters
    defaults = {n: p.default for n, p in parameters.items() if n not in ("step", "total", "scale")}
    assert node == {n: list(v) if isinstance(v, tuple) else v for n, v in defaults.items()}


@pytest.mark.parametrize("name", schedules.__all__)
@pytest.mark.parametrize("warmup", [0, 10])
def test_factors_are_in_0_to_1_and_keep_their_last_value_beyond_the_end(name, warmup):
    schedule, options = from_yaml(name)
    found = factors(schedule, upto=3 * TOTAL, **(options | {"warmup_steps": warmup}))
    assert np.isfinite(found).all() and (found >= -1e-7).all() and (found <= 1 + 1e-6).all()
    assert found.max() == pytest.approx(1, rel=2e-3)
    np.testing.assert_array_equal(found[TOTAL:], found[TOTAL])


@pytest.mark.parametrize("name", schedules.__all__)
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_a_run_of_one_update_works(name, warmup):
    schedule, options = from_yaml(name)
    assert np.isfinite(factors(schedule, total=1, **(options | {"warmup_steps": warmup}))).all()


@pytest.mark.parametrize("name", schedules.__all__)
def test_warm_up_rises_linearly_and_then_the_schedule_begins(name):
    schedule, options = from_yaml(name)
    if name == "step":
        options["fractions"] = []
    found = factors(schedule, **(options | {"warmup_steps": 10}))
    plain = factors(schedule, total=TOTAL - 10, **options)
    np.testing.assert_allclose(found[:10], plain[0] * np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_allclose(found[10:], plain, rtol=1e-5, atol=1e-7)


OPTAX = {
    "constant": ({}, optax.constant_schedule(1.0)),
    "linear": ({"final": 0.2}, optax.linear_schedule(1.0, 0.2, TOTAL)),
    "polynomial": ({"final": 0.1, "power": 3.0}, optax.polynomial_schedule(1.0, 0.1, 3.0, TOTAL)),
    "cosine": ({"final": 0.05}, optax.cosine_decay_schedule(1.0, TOTAL, alpha=0.05)),
    "exponential": ({"rate": 0.02}, optax.exponential_decay(1.0, TOTAL, 0.02)),
    "exponential every": ({"rate": 0.5, "every": 9}, optax.exponential_decay(1.0, 9, 0.5)),
    "piecewise": (
        {"boundaries": [20, 30], "factors": [0.5, 0.05]},
        optax.piecewise_constant_schedule(1.0, {20: 0.5, 30: 0.1}),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_factors_equal_optax(name):
    options, reference = OPTAX[name]
    expected = np.asarray(jax.vmap(reference)(jnp.arange(TOTAL)) if name != "constant" else np.ones(TOTAL))
    found = factors(getattr(schedules, name.split()[0]), **options)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def torch_cases(lr_scheduler):
    return {
        "linear": (
            {"final": 0.2},
            lr_scheduler.LinearLR,
            {"start_factor": 1, "end_factor": 0.2, "total_iters": TOTAL},
        ),
        "constant": (
            {"warmup_steps": 10},
            lr_scheduler.LinearLR,
            {"start_factor": 0.1, "end_factor": 1, "total_iters": 9},
        ),
        "polynomial": ({"power": 3.0}, lr_scheduler.PolynomialLR, {"power": 3.0, "total_iters": TOTAL}),
        "cosine": ({}, lr_scheduler.CosineAnnealingLR, {"T_max": TOTAL}),
        "cosine_restarts": (
            {"cycles": 3, "growth": 2.0},
            lr_scheduler.CosineAnnealingWarmRestarts,
            {"T_0": TOTAL // 7, "T_mult": 2},
        ),
        "step": ({}, lr_scheduler.MultiStepLR, {"milestones": [35, 52], "gamma": 0.1}),
        "piecewise": (
            {"boundaries": [7, 60], "factors": [0.5, 0.25]},
            lr_scheduler.MultiStepLR,
            {"milestones": [7, 60], "gamma": 0.5},
        ),
        "exponential": ({}, lr_scheduler.ExponentialLR, {"gamma": 0.01 ** (1 / TOTAL)}),
        "one_cycle": ({}, lr_scheduler.OneCycleLR, {"max_lr": 1.0, "total_steps": TOTAL}),
        "one_cycle other": (
            {"pct_start": 0.25, "div_factor": 10.0, "final_div_factor": 100.0},
            lr_scheduler.OneCycleLR,
            {"max_lr": 1.0, "total_steps": TOTAL, "pct_start": 0.25, "div_factor": 10, "final_div_factor": 100},
        ),
    }


def test_factors_equal_pytorch():
    torch = pytest.importorskip("torch")
    for name, (options, make, theirs) in torch_cases(torch.optim.lr_scheduler).items():
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler, expected = make(optimizer, **theirs), []
        for _ in range(TOTAL):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        found = factors(getattr(schedules, name.split()[0]), **options)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-7, err_msg=name)


def test_inverse_time_equals_its_formula():
    t = np.arange(TOTAL)
    np.testing.assert_allclose(factors(schedules.inverse_time), 1 / (1 + 9 * t / TOTAL), rtol=1e-6)
    np.testing.assert_allclose(factors(schedules.inverse_time, rate=0.5, every=10), 1 / (1 + 0.05 * t), rtol=1e-6)


def test_restarts_begin_at_whole_updates_with_factor_1():
    found = factors(schedules.cosine_restarts, total=10, cycles=3)
    np.testing.assert_array_equal(np.flatnonzero(found == 1), [0, 3, 7])


def test_fractions_of_a_run_are_rounded_to_whole_updates():
    found = factors(schedules.step, total=30, fractions=[0.1, 0.7], factor=0.5)
    np.testing.assert_array_equal(np.flatnonzero(np.diff(found)) + 1, [3, 21])


def test_a_long_run_loses_no_precision():
    total = 3_000_000
    found = float(jax.jit(schedules.cosine)(jnp.int32(total - 1000), jnp.int32(total)))
    assert found == pytest.approx((1 + np.cos(np.pi * (total - 1000) / total)) / 2, abs=1e-7)


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        (schedules.piecewise, {"boundaries": [5]}, "1 boundaries and 0 factors"),
        (
            schedules.piecewise,
            {"boundaries": [5, 3], "factors": [1, 1]},
            r"boundaries=\[5, 3\] must be in ascending order",
        ),
    ],
)
def test_invalid_options_are_an_error(schedule, options, message):
    with pytest.raises(ValueError, match=message):
        schedule(0, 10, **options)
