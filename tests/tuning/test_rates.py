"""The range test: its losses are those of training with these rates, on the batches of the run."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dltrain import optimizers
from dltrain.build.program import Program
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.models.linear import Linear
from dltrain.tuning import rates
from dltrain.tuning.rates import RangeTest, make_program, range_test, rate_words

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def squared(outputs, batch):
    """Half the squared distance to the one-hot target: quadratic in the parameters of a linear model."""
    return 0.5 * jnp.square(outputs - jax.nn.one_hot(batch["targets"], 3)).sum(-1)


@pytest.fixture(scope="module")
def quadratic(make_parts, spec):
    """Parts of a linear model with a quadratic loss, trained by gradient descent."""
    return make_parts(
        make_model=lambda rngs: Linear(spec=spec, rngs=rngs),
        objective=Objective(squared),
        optimizer=lambda hparams: optax.sgd(hparams["learning_rate"]),
    )


@pytest.fixture(scope="module")
def plan(program):
    return program.plan


@pytest.fixture(scope="module")
def found(quadratic, plan) -> RangeTest:
    return range_test(quadratic, plan, lowest=1e-5, highest=100, rates=60)


def gradient_descent(program: Program, rates: np.ndarray) -> np.ndarray:
    """Return the losses of the steps in float64, by NumPy alone, on the batches of the run in their order."""
    params = jax.device_get(program.start().params)
    kernel, bias = (np.asarray(leaf, np.float64) for leaf in _kernel_and_bias(params))
    losses = []
    for step, rate in enumerate(rates):
        batch = program.batch(step)
        x = np.asarray(program.parts.preprocess.scaled(batch)["inputs"], np.float64).reshape(len(batch["mask"]), -1)
        mask, wanted = np.asarray(batch["mask"], np.float64)[:, None], np.eye(3)[batch["targets"]]
        error = mask * (x @ kernel + bias - wanted)
        losses.append(0.5 * (error**2).sum() / mask.sum())
        kernel = kernel - rate * x.T @ error / mask.sum()
        bias = bias - rate * error.sum(0) / mask.sum()
    return np.array(losses)


def _kernel_and_bias(params):
    leaves = sorted(jax.tree.leaves(params), key=lambda leaf: -leaf.ndim)
    assert [leaf.ndim for leaf in leaves] == [2, 1]
    return leaves


def test_the_losses_are_those_of_numpy_with_growing_rates_on_the_batches_of_the_run(found, quadratic, plan):
    expected = np.geomspace(1e-5, 100, 60)
    np.testing.assert_allclose(found.rates, expected, rtol=1e-5)
    assert len(found.losses) > quadratic.pipeline.steps_per_epoch * 3  # several epochs
    reference = gradient_descent(Program(quadratic, plan), expected[: len(found.losses)])
    np.testing.assert_allclose(found.losses, reference, rtol=1e-3)


def test_the_recommended_rate_trains_and_the_one_that_ended_the_test_does_not(found, quadratic, plan):
    program, last = Program(quadratic, plan), len(found.losses)
    assert found.recommended.learning_rate < found.rates[found.count] and found.diverged and last < 60
    chosen, ended = (
        gradient_descent(program, np.full(60, rate))
        for rate in (found.recommended.learning_rate, found.rates[last - 1])
    )
    assert chosen[-6:].mean() < 0.5 * chosen[:6].mean()
    assert ended[-1] > 4 * ended[0]
    assert not found.warnings()


def test_streamed_data_gives_the_same_losses(found, quadratic, plan):
    streamed = range_test(replace(quadratic, arrays=None), plan, lowest=1e-5, highest=100, rates=60)
    np.testing.assert_array_equal(streamed.losses, found.losses)


def test_a_step_that_is_not_finite_ends_the_test_and_is_left_out(quadratic, plan):
    broken = replace(
        quadratic, objective=Objective(lambda o, b: squared(o, b) + 0 * jnp.log(10.0 - jnp.abs(o).max()))
    )
    found = range_test(broken, plan, lowest=1e-5, highest=100, rates=60)
    assert "is not finite" in found.diverged and np.isfinite(found.losses).all() and len(found.losses) < 60


def test_the_schedule_of_the_run_is_replaced_and_its_length_kept(quadratic, plan):
    followed = replace(quadratic, hparams={"learning_rate": 0.5, "scale": 1.0})  # schedule=plateau
    program = make_program(followed, replace(plan, total=500, skip_nonfinite=True), np.array([1, 2, 4], np.float32))
    assert program.plan.total == 500 and program.capacity == 3 and not program.plan.skip_nonfinite
    factors = [float(program.parts.schedule(jnp.int32(step), jnp.int32(500))) for step in (0, 1, 2, 3)]
    assert factors == [1, 2, 4, 4] and program.parts.hparams == {"learning_rate": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hparams": {}, "optimizer": lambda _: optax.sgd(0.1)}, "has no learning_rate"),
        ({"optimizer": lambda h: optimizers.lbfgs(h["learning_rate"])}, "by a line search"),
        ({"optimizer": lambda h: optimizers.newton(h["learning_rate"])}, "by a line search"),
    ],
)
def test_an_optimizer_without_a_rate_to_find_is_refused(quadratic, plan, changes, message):
    with pytest.raises(ConfigError, match=message):
        range_test(replace(quadratic, **changes), plan)


def test_sharpness_aware_minimisation_is_not_taken_for_a_line_search(quadratic):
    rates.check_optimizer(replace(quadratic, optimizer=lambda h: optimizers.sam(h["learning_rate"])))


@pytest.mark.parametrize(("lowest", "highest"), [(1.0, 1.0), (1.0, 0.1)])
def test_an_empty_range_is_refused(quadratic, plan, lowest, highest):
    with pytest.raises(ConfigError, match="lowest must be below highest"):
        range_test(quadratic, plan, lowest=lowest, highest=highest)


@pytest.mark.parametrize(
    ("losses", "diverged", "warning"),
    [
        (np.linspace(1, 2, 60), "", "the loss hardly falls, which may be chance; try highest=10 or rates=120"),
        (
            np.geomspace(1, 9, 60),
            "x",
            "diverges before it falls; try smaller rates, and more of them: lowest=1e-07 rates=120",
        ),
        (np.r_[np.ones(30), np.full(30, 0.99)], "", "hardly falls"),
        (np.r_[np.ones(30), np.linspace(1, 0.1, 30)], "", "still falls at the largest rate; try highest=10"),
        (np.r_[np.ones(20), np.linspace(1, 0.1, 20), np.linspace(0.1, 0.9, 20)], "", None),
    ],
)
def test_a_doubtful_result_is_said_to_be_doubtful(losses, diverged, warning):
    found = RangeTest(np.geomspace(1e-5, 1, 60), losses, len(losses), diverged)
    assert [warning in one for one in found.warnings()] == ([True] if warning else [])


def test_the_rates_of_parameter_groups_grow_in_proportion():
    node = {"learning_rate": 0.001, "groups": {"head": {"learning_rate": 0.01}, "body": {"every": 2}}}
    words = rate_words(node, 0.0052)
    assert words == ["optim.learning_rate=0.0052", "optim.groups.head.learning_rate=0.052"]
    assert rate_words({"learning_rate": 0.001, "groups": None}, 0.25) == ["optim.learning_rate=0.25"]
