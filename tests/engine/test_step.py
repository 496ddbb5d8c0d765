"""One step: masked examples have no effect, penalties have the right gradients, NaN changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import few

from dltrain import losses
from dltrain.data.preprocess import Affine, Chain, Preprocess
from dltrain.engine.state import create, named_leaves, trace_module
from dltrain.engine.step import Objective, make_step, weighted_sum
from dltrain.models.layers import Norm
from dltrain.models.mlp import MLP

pytestmark = pytest.mark.usefixtures("unoptimised")
PLAIN = Preprocess({"image": Chain((Affine(np.zeros(1, np.float32), np.ones(1, np.float32)),))})


@pytest.fixture
def one_step(spec, quick):
    """Make (state, step) for an MLP with batch norm and without dropout, by plain gradient descent."""

    def make(objective=None, *, rate=0.1, log_every=1, skip=False, accumulate=1, norm=Norm.BATCH, metrics=None):
        def model(rngs):
            return MLP((5,), spec=spec, rngs=rngs, norm=norm)

        def optimizer(hparams):
            return optax.sgd(hparams["learning_rate"])

        step = make_step(
            graphs=trace_module(model)[1],
            objective=objective or Objective(losses.cross_entropy),
            optimizer=optimizer,
            schedule=lambda step, total: jnp.float32(1),
            preprocess=PLAIN,
            augment=lambda batch, key, left: batch,
            metrics=metrics or {},
            log_every=log_every,
            skip_nonfinite=skip,
            accumulate=accumulate,
        )
        return create(
            model, optimizer, seed=0, hparams={"learning_rate": np.float32(rate), "total_steps": np.int32(10)}
        ), jax.jit(step, compiler_options=quick)

    return make


def batch_of(arrays, rows, mask=None):
    rows = np.asarray(rows)
    mask = np.ones(len(rows), bool) if mask is None else np.asarray(mask)
    return {"inputs": arrays["inputs"][rows], "targets": arrays["targets"][rows], "mask": mask}


def leaves(state):
    return jax.device_get(named_leaves({"params": state.params, "model_state": state.model_state}))


def test_masked_example_equals_absent_example(one_step, arrays):
    state, step = one_step()
    short, short_logs = step(state, batch_of(arrays, [0, 1, 2, 4, 5]))
    padded = batch_of(arrays, [0, 1, 2, 4, 5, 9, 9], [True] * 5 + [False] * 2)
    padded["inputs"][5:] = 1e6  # the values there must not be used
    masked, masked_logs = step(state, padded)
    assert short_logs["loss"] == pytest.approx(float(masked_logs["loss"]), rel=1e-6)
    for name, value in leaves(short).items():
        np.testing.assert_allclose(value, leaves(masked)[name], rtol=2e-5, atol=1e-6, err_msg=name)


def test_example_weights_count_and_masked_examples_do_not():
    batch = {"mask": np.array([True, True, False]), "weights": np.array([1.0, 3.0, 5.0])}
    total, weight = weighted_sum(jnp.array([1.0, 2.0, jnp.nan]), batch)
    assert (float(total), float(weight)) == (7.0, 4.0)


def test_l2_has_the_gradient_lambda_w_on_kernels_only(one_step, arrays):
    batch = batch_of(arrays, range(6))
    state, plain = one_step(rate=1.0)
    _, penalised = one_step(Objective(losses.cross_entropy, l2=0.25), rate=1.0)
    without, with_l2 = leaves(plain(state, batch)[0]), leaves(penalised(state, batch)[0])
    for name, start in leaves(state).items():
        if name.startswith("params"):
            decay = 0.25 * start if name.endswith("kernel") else 0 * start
            np.testing.assert_allclose(without[name] - with_l2[name], decay, atol=2e-6, err_msg=name)


def test_l1_has_the_gradient_lambda_sign_w(one_step, arrays):
    batch = batch_of(arrays, range(6))
    state, plain = one_step(rate=1.0)
    _, penalised = one_step(Objective(losses.cross_entropy, l1=0.25), rate=1.0)
    name = "params.head.kernel"
    got = leaves(plain(state, batch)[0])[name] - leaves(penalised(state, batch)[0])[name]
    np.testing.assert_allclose(got, 0.25 * np.sign(leaves(state)[name]), atol=2e-6)


def test_reduction_sum_is_the_mean_times_the_number_of_valid_examples(one_step, arrays):
    batch = batch_of(arrays, range(6), [True] * 4 + [False] * 2)
    state, mean = one_step()
    _, total = one_step(Objective(losses.cross_entropy, reduction="sum"))
    assert float(total(state, batch)[1]["loss"]) == pytest.approx(
        4 * float(mean(state, batch)[1]["loss"]), rel=1e-6
    )


@pytest.mark.parametrize("skip", [False, True])
def test_non_finite_loss_changes_no_parameter(one_step, arrays, skip):
    state, step = one_step(skip=skip)
    batch = batch_of(arrays, range(6))
    batch["inputs"] = batch["inputs"].copy()
    batch["inputs"][3, 0, 0, 0] = np.inf
    after, logs = step(state, batch)
    assert logs["finite"] == 0
    assert (bool(after.active), int(after.step)) == ((True, 1) if skip else (False, 0))
    for name, value in leaves(state).items():
        np.testing.assert_array_equal(value, leaves(after)[name], err_msg=name)


def test_parameter_norm_is_computed_on_logged_steps_only(one_step, arrays):
    state, step = one_step(log_every=2)
    state, first = step(state, batch_of(arrays, range(6)))
    before = optax.tree.norm(state.params)
    _, second = step(state, batch_of(arrays, range(6)))
    assert first["parameter_norm"] == 0
    assert float(second["parameter_norm"]) == pytest.approx(float(before), rel=1e-6)


def test_metrics_and_the_number_of_examples_are_logged_at_every_step(one_step, arrays):
    state, step = one_step(log_every=7, metrics={"class": lambda outputs, batch: 1.0 * batch["targets"]})
    batch = batch_of(arrays, range(6), [True] * 4 + [False] * 2)
    _, logs = step(state, batch)
    assert logs["examples"] == 4
    assert float(logs["class"]) == batch["targets"][:4].mean()


def test_loss_of_the_wrong_shape_is_an_error(one_step, arrays):
    _, step = one_step(Objective(lambda outputs, batch: losses.cross_entropy(outputs, batch).mean()))
    with pytest.raises(ValueError, match=r"one value per example, \(6,\); found \(\)"):
        step(one_step()[0], batch_of(arrays, range(6)))


@few("reduction", ["mean", "sum"], 1)
def test_microbatches_give_the_update_of_the_whole_batch(one_step, arrays, reduction):
    """Microbatches of 3 and 1 valid examples, with weights: the mean of their means would differ."""
    objective = Objective(losses.cross_entropy, reduction=reduction, l1=0.01, l2=0.1)
    batch = batch_of(arrays, range(6), [True, True, True, False, True, False])
    batch["weights"] = np.arange(1.0, 7.0, dtype=np.float32)
    state, whole = one_step(objective, norm=Norm.NONE)
    _, microbatches = one_step(objective, norm=Norm.NONE, accumulate=2)
    (expected, logs), (found, found_logs) = whole(state, batch), microbatches(state, batch)
    for name in ("loss", "gradient_norm"):
        assert float(found_logs[name]) == pytest.approx(float(logs[name]), rel=1e-5)
    for name, value in leaves(expected).items():
        np.testing.assert_allclose(leaves(found)[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_penalties_count_once_for_any_number_of_padded_microbatches(one_step, arrays):
    objective = Objective(losses.cross_entropy, l1=0.01, l2=0.1)
    batch = batch_of(arrays, range(6), [True] + [False] * 5)
    state, whole = one_step(objective, norm=Norm.NONE)
    _, microbatches = one_step(objective, norm=Norm.NONE, accumulate=3)
    logs, found = whole(state, batch)[1], microbatches(state, batch)[1]
    for name in ("loss/l1", "loss/l2", "loss", "gradient_norm"):
        assert float(found[name]) == pytest.approx(float(logs[name]), rel=1e-5), name


def test_microbatch_of_padding_does_not_change_batch_statistics(one_step, arrays):
    state, step = one_step(accumulate=3)
    after, logs = step(state, batch_of(arrays, range(6), [True, False, False, True, False, False]))
    assert logs["finite"] == 1
    _, alone = one_step()
    expected, _ = alone(state, batch_of(arrays, [0, 3]))
    for name, value in leaves(expected).items():
        np.testing.assert_allclose(leaves(after)[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
