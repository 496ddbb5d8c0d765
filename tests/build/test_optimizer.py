"""What optimizers receive besides the gradient: the loss elsewhere, averages of the weights; built from YAML."""

import jax
import numpy as np
import pytest

from dltrain.build.compiling import compile_training
from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.engine.state import named_leaves
from dltrain.errors import ConfigError

pytestmark = pytest.mark.usefixtures("unoptimised")

X = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
Y = np.array([2.1, 3.7, 6.4, 7.9, 10.3, 11.2])
LINE = (
    "data=inline",
    f"data.inputs={X.tolist()}".replace(" ", ""),
    f"data.targets={Y.tolist()}".replace(" ", ""),
    "data.scale=none",
    "data.validation=0",
    "data.test=0",
    "model=linear",
    "loss=mse",
    "batch_size=all",
)


def trained(steps, *words):
    config = compose_words(*words, f"steps={steps}", "eval_every=100", "checkpoint_every=100").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    state, logs = program.chunk(program.start(), program.data, program.feed_chunk(0, steps), np.int32(steps))
    return program, state, {name: np.asarray(value)[:steps] for name, value in logs.items()}


def line(params):
    return np.array([params["head"]["kernel"].item(), params["head"]["bias"].item()])


def gradient(w, l2=0.0):
    error = w[0] * X + w[1] - Y
    return np.array([2 * (error * X).mean() + l2 * w[0], 2 * error.mean()])


def loss(w):
    return ((w[0] * X + w[1] - Y) ** 2).mean()


def closed_form(l2=0.0):
    square = np.array([[2 * (X * X).mean() + l2, 2 * X.mean()], [2 * X.mean(), 2.0]])
    return np.linalg.solve(square, [2 * (X * Y).mean(), 2 * Y.mean()])


@pytest.mark.parametrize(("name", "steps", "l2"), [("newton", 2, 0.0), ("newton", 2, 3.0), ("lbfgs", 12, 0.0)])
def test_curvature_leads_to_the_closed_form_of_linear_regression_penalties_with_it(name, steps, l2):
    _, state, _ = trained(steps, *LINE, f"optim={name}", f"loss.l2={l2}")
    np.testing.assert_allclose(line(state.params), closed_form(l2), rtol=2e-4)


def test_newton_goes_down_where_the_hessian_is_not_positive():
    words = (
        "data=iris",
        "model=mlp",
        "model.widths=[3]",
        "model.activation=tanh",
        "batch_size=all",
        "optim=newton",
    )
    _, _, logs = trained(8, *words, "optim.damping=0.01")
    assert (np.diff(logs["loss"]) <= 1e-6).all() and logs["loss"][-1] < 0.3 * logs["loss"][0]


def test_a_batch_in_microbatches_is_searched_as_a_whole_with_penalties():
    _, state, _ = trained(12, *LINE, "optim=lbfgs", "loss.l2=3.0", "optim.accumulate=3")
    np.testing.assert_allclose(line(state.params), closed_form(3.0), rtol=2e-4)


@pytest.mark.slow
def test_the_loss_is_searched_with_dropout_and_batch_statistics():
    words = ("data=iris", "data.validation=0", "batch_size=all", "optim=lbfgs")
    logs = trained(5, *words, "model=mlp", "model.widths=[4]", "model.dropout=0.5", "model.norm=batch")[2]
    assert np.isfinite(logs["loss"]).all()


def test_sam_takes_the_gradient_uphill():
    _, state, _ = trained(10, *LINE, "optim=sam", "optim.learning_rate=0.01", "optim.rho=0.3")
    w, v = np.zeros(2), np.zeros(2)
    for _ in range(10):
        g = gradient(w)
        v = 0.9 * v + gradient(w + 0.3 * g / np.linalg.norm(g))
        w = w - 0.01 * v
    np.testing.assert_allclose(line(state.params), w, rtol=1e-4)


def test_polyaks_rate_follows_from_the_loss():
    _, state, _ = trained(10, *LINE, "optim=polyak", "optim.f_min=0.03", "optim.learning_rate=0.02")
    w, rates = np.zeros(2), []
    for _ in range(10):
        g = gradient(w)
        rates.append(min(0.02, (loss(w) - 0.03) / (g @ g)))
        w = w - rates[-1] * g
    assert min(rates) < 0.02 == max(rates)
    np.testing.assert_allclose(line(state.params), w, rtol=1e-3)


@pytest.mark.parametrize("decay", [0.8, 0.9999])
def test_ema_is_a_weighted_mean_without_the_start_and_is_what_is_evaluated(decay):
    program, state, _ = trained(10, *LINE, "optim=gd", "optim.learning_rate=0.01", f"optim.ema={decay}")
    w, seen = np.zeros(2), []
    for _ in range(10):
        w = w - 0.01 * gradient(w)
        seen.append(w)
    expected = np.average(seen, axis=0, weights=decay ** np.arange(9, -1, -1))
    np.testing.assert_allclose(line(state.params), w, rtol=1e-5)
    np.testing.assert_allclose(line(state.ema["params"]), expected, rtol=1e-5)
    assert program.evaluate(state, "train").scalars["loss"] == pytest.approx(loss(expected), rel=1e-4)
    assert any(name.startswith("ema.") for name in named_leaves(state))


def test_batch_statistics_are_averaged_with_the_weights():
    words = ("data=iris", "model=mlp", "model.widths=[4]", "model.norm=batch", "optim=sgd", "batch_size=16")
    program, state, _ = trained(3, *words, "optim.ema=0.5")
    means, again = [], program.start()
    for step in range(3):
        again, _ = program.chunk(again, program.data, program.feed_chunk(step, 1), np.int32(1))
        means.append(jax.tree.map(np.array, again.model_state))
    weights = np.array([0.25, 0.5, 1]) / 1.75
    expected = jax.tree.map(lambda *leaves: sum(w * x for w, x in zip(weights, leaves, strict=True)), *means)
    found = jax.device_get(state.ema["model_state"])
    assert jax.tree.leaves(found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)


def test_schedule_free_evaluates_the_mean_of_its_iterates():
    program, state, _ = trained(2, *LINE, "optim=schedule_free", "optim.learning_rate=0.1")
    first, _ = program.chunk(program.start(), program.data, program.feed_chunk(0, 1), np.int32(1))
    # after one step mean and iterate are the same: w = 0 - 0.1 g / (|g| + eps) = 0.1 each, whatever is trained at
    measured, _ = program.eval_params(first)
    np.testing.assert_allclose(line(measured), [0.1, 0.1], rtol=1e-5)
    measured, _ = program.eval_params(state)
    assert (line(measured) < line(state.opt_state[0].z)).all()  # lags behind
    assert program.evaluate(state, "train").scalars["loss"] == pytest.approx(loss(line(measured)), rel=1e-4)


def test_a_step_that_is_not_finite_elsewhere_changes_nothing():
    words = (*LINE, "optim=sam", "optim.rho=1e30", "optim.ema=0.9")
    program, state, logs = trained(3, *words)
    assert logs["finite"][0] == 0 and not bool(state.active) and int(state.step) == 0
    np.testing.assert_array_equal(line(state.params), line(program.start().params))


@pytest.mark.parametrize("name", ["gd", "lbfgs", "newton"])
def test_a_batch_of_some_examples_is_refused_unless_allowed(name):
    config = compose_words("data=iris", "model=linear", f"optim={name}").config
    with pytest.raises(ConfigError, match=r"batch_size=all, or optim.minibatch=true"):
        assemble(config)
    assemble(compose_words("data=iris", "model=linear", f"optim={name}", "optim.minibatch=true").config)


def test_newton_refuses_a_model_too_large_for_its_hessian():
    config = compose_words("data=iris", "batch_size=all", "optim=newton", "optim.max_parameters=10").config
    parts = assemble(config)
    with pytest.raises(ConfigError, match=r"has .* parameters, more than optim.max_parameters=10"):
        compile_training(Program(parts, make_plan(config, parts)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("optim=sam", "optim.rules=[{match: head, freeze: true}]"), "updates all parameters together"),
        (("optim=sgd", "optim.rules=[{match: head, decay: 0}]"), "decay scales optim.weight_decay"),
        (("schedule.warmup_epochs=1", "schedule.warmup_steps=3"), "set only one of them"),
        (("data.fold=1",), "set data.folds=5, too"),
        (("data.folds=3", "data.fold=3"), "numbered from 0 to 2"),
    ],
)
def test_what_does_not_go_together_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        assemble(compose_words("data=iris", "model=linear", *words).config)


def test_frozen_parameters_stay_with_schedule_free_and_their_mean_with_them():
    words = ("data=iris", "model=mlp", "model.widths=[3]", "batch_size=16", "optim=schedule_free")
    program, state, _ = trained(4, *words, "optim.rules=[{match: head, freeze: true}, {match: hidden, scale: 0.5}]")
    before = program.start().params["head"]["kernel"]
    np.testing.assert_array_equal(state.params["head"]["kernel"], before)
    np.testing.assert_allclose(program.eval_params(state)[0]["head"]["kernel"], before, rtol=1e-5)


def test_a_rule_multiplies_the_weight_decay():
    words = (
        "data=iris",
        "model=mlp",
        "model.widths=[3,3]",
        "batch_size=16",
        "optim=adamw",
        "optim.weight_decay=0.5",
    )
    rules = "optim.rules=[{match: hidden.0, decay: 0}, {match: hidden.1, decay: 2}]"
    (program, state, _), (_, ruled, _) = trained(1, *words), trained(1, *words, rules)
    start, plain, ruled = (
        jax.device_get(params) for params in (program.start().params, state.params, ruled.params)
    )
    for layer, less in ((0, 1), (1, -1)):  # one decay less than without rules, and one more
        kernel = [params["hidden"][layer]["kernel"] for params in (start, plain, ruled)]
        np.testing.assert_allclose(kernel[2] - kernel[1], less * 0.001 * 0.5 * kernel[0], atol=3e-7)
    np.testing.assert_allclose(ruled["head"]["kernel"], plain["head"]["kernel"], atol=1e-7)


def test_length_is_counted_in_examples_and_warm_up_in_epochs():
    words = ("data=iris", "data.validation=0", "model=linear", "batch_size=50")  # 120 examples: 3 steps an epoch
    for examples, steps in ((1, 1), (50, 1), (51, 2), (120, 3), (121, 4), (240, 6)):
        config = compose_words(*words, f"examples={examples}").config
        assert make_plan(config, assemble(config)).total == steps
    _, _, logs = trained(8, *words, "optim=sgd", "optim.learning_rate=1", "schedule.warmup_epochs=2")
    np.testing.assert_allclose(logs["learning_rate"], [*np.arange(1, 7) / 6, 1, 1], rtol=1e-6)
