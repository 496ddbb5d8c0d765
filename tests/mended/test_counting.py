"""The optimizer and the EMA count updates; schedules, intervals and budgets count steps, skipped ones included."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dltrain import losses
from dltrain.data.preprocess import Chain, Preprocess
from dltrain.engine.chunk import make_chunk
from dltrain.engine.state import create, from_named, named_leaves, trace_module
from dltrain.engine.step import Objective, make_step
from dltrain.models.linear import Linear
from dltrain.optimizers.groups import every, make_groups

pytestmark = pytest.mark.usefixtures("unoptimised")

DECAY = 0.5
OPTIMIZERS = {
    "adam": lambda rate: optax.adam(rate),
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "every second": lambda rate: make_groups({"head": every(2, optax.sgd(rate))}, optax.sgd(rate)),
}


@pytest.fixture(scope="module", params=OPTIMIZERS)
def train(request, spec, arrays):
    """Train six steps of one batch each; steps in `bad` are not finite, those in `left_out` are left out."""

    def model(rngs):
        return Linear(spec=spec, rngs=rngs)

    def optimizer(hparams):
        return OPTIMIZERS[request.param](hparams["learning_rate"])

    step = make_step(
        graphs=trace_module(model)[1],
        objective=Objective(losses.cross_entropy),
        optimizer=optimizer,
        schedule=lambda step, total: 1 - step / total,
        preprocess=Preprocess({"image": Chain()}),
        augment=lambda batch, key, left: batch,
        metrics={},
        log_every=1,
        skip_nonfinite=True,
        ema=DECAY,
    )

    def pick(data, given, i):
        inputs = jnp.where(data["bad"][given[i]], jnp.nan, data["inputs"])
        return {"inputs": inputs, "targets": data["targets"], "mask": jnp.ones(len(data["targets"]), bool)}

    chunk = make_chunk(step, pick)

    def run(bad=(), left_out=(), steps=range(1, 7), start=None):
        hparams = {"learning_rate": np.float32(0.1), "total_steps": np.int32(10)}
        state = create(model, optimizer, seed=0, hparams=hparams, averaged=True) if start is None else start
        state = replace(state, left_out=jnp.asarray([*left_out, 0, 0, 0][:3], jnp.int32))
        data = {"inputs": arrays["inputs"][:6], "targets": arrays["targets"][:6], "bad": np.isin(range(9), bad)}
        data = {name: jnp.asarray(value) for name, value in data.items()}
        params, rates = [np.array(state.params["head"]["kernel"])], []
        for number in steps:
            state, logs = chunk(state, data, np.array([number, 0], np.int32), np.int32(1))
            params.append(np.array(state.params["head"]["kernel"]))
            rates.append(float(logs["learning_rate"][0]))
        return state, params, rates

    return run


@pytest.mark.parametrize(("bad", "left_out"), [((), ()), ((1, 4), ()), ((), (1, 4)), ((1,), (5,)), ((6,), ())])
def test_everything_that_counts_agrees(train, bad, left_out):
    state, params, rates = train(bad, left_out)
    without = {*bad, *left_out}
    updates = 6 - len(without)
    assert (int(state.step), int(state.updates)) == (6, updates)
    np.testing.assert_allclose(rates, [0.1 * (1 - step / 10) for step in range(6)], rtol=1e-6)
    counts = [
        leaf for name, leaf in named_leaves(state.opt_state).items() if name.split(".")[-1] in ("count", "step")
    ]
    assert all(int(count) == updates for count in counts)
    made = [params[step] for step in range(1, 7) if step not in without]
    weights = DECAY ** np.arange(len(made))[::-1]
    mean = sum(w * p for w, p in zip(weights, made, strict=True)) / weights.sum()
    np.testing.assert_allclose(state.ema["params"]["head"]["kernel"], mean, rtol=1e-5, atol=1e-7)
    for step in without:
        np.testing.assert_array_equal(params[step], params[step - 1])


def test_a_resumed_run_goes_on_counting(train):
    whole, *_ = train((2,))
    half, *_ = train((2,), steps=range(1, 4))
    saved = {name: np.asarray(value) for name, value in jax.device_get(named_leaves(half)).items()}
    again, *_ = train((2,), steps=range(4, 7), start=from_named(half, saved, what="the test"))
    for name, value in named_leaves(whole).items():
        np.testing.assert_array_equal(named_leaves(again)[name], value, err_msg=name)


def test_an_older_checkpoint_counts_its_steps_as_updates(train):
    state, *_ = train(())
    saved = {name: np.asarray(value) for name, value in jax.device_get(named_leaves(state)).items()}
    del saved["updates"]
    assert int(from_named(state, saved, what="the test").updates) == 6
