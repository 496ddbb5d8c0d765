"""Recurrent state belongs to the examples that were read: it is saved and resumed, but not taken by others."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import optax
import pytest

from dltrain import losses
from dltrain.build.init_from import with_weights
from dltrain.devices.precision import FLOAT32
from dltrain.engine import averages
from dltrain.engine.state import create, from_named, named_leaves, trace_module
from dltrain.engine.stateful import fresh
from dltrain.engine.step import Objective, make_gradients
from dltrain.models.rnn import GRU
from dltrain.tasks import Language
from dltrain.types import Feature, Kind, Spec

WINDOW = Feature(Kind.TOKENS, (4,), "int32", vocabulary=tuple("abc"))
POSITION = Feature(Kind.POSITION, (), "int32")
TEXT = Spec({"text": WINDOW, "position": POSITION}, {"next": WINDOW}, Language())
make_model = partial(lambda rngs: GRU(3, spec=TEXT, rngs=rngs, embedding=2, stateful=True))


@pytest.fixture(scope="module")
def state():
    """Two batches, of four examples each, that continue one another."""
    state = create(make_model, lambda hparams: optax.sgd(0.1), seed=0, hparams={"learning_rate": 0.1}, batch_size=4)
    rest = jax.tree.map(lambda x: x + 1, state.model_state)
    return replace(state, model_state=rest, ema=averages.begin(state.params, state.model_state))


def test_recurrent_state_starts_at_zero_for_each_example(state):
    carried = fresh(state.model_state, 6)["recurrent_state"]
    assert carried["ends"].shape == (6,) and carried["states"].shape == (6, 1, 1, 3)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(carried))
    other = {"mean": np.ones(3), "carried_on": np.ones(3)}
    assert fresh(other, 6) == other


def test_checkpoint_of_another_batch_size_is_read_without_recurrent_state(state):
    saved = jax.device_get(named_leaves(state))
    assert np.asarray(from_named(state, saved, what="").model_state["recurrent_state"]["ends"]).tolist() == [1] * 4
    other = replace(
        state,
        model_state=fresh(state.model_state, 2),
        ema=averages.begin(state.params, fresh(state.model_state, 2)),
    )
    found = from_named(other, saved, what="")
    assert np.asarray(found.model_state["recurrent_state"]["ends"]).tolist() == [0, 0]
    np.testing.assert_array_equal(found.params["head"]["kernel"], saved["params.head.kernel"])


def test_init_from_copies_weights_without_recurrent_state(state):
    saved = jax.device_get(named_leaves(state))
    begun = replace(state, model_state=fresh(state.model_state, 4))
    mixed, taken, left = with_weights(begun, saved)
    assert not np.asarray(mixed.model_state["recurrent_state"]["states"]).any()
    assert left == [] and all(name.startswith("params.") for name in taken)


def test_ema_excludes_recurrent_state(state):
    ema = averages.after(state.ema, state.params, state.model_state, decay=0.9, count=np.int32(2))
    np.testing.assert_array_equal(
        ema["model_state"]["recurrent_state"]["states"], state.model_state["recurrent_state"]["states"]
    )
    assert not np.array_equal(
        state.ema["model_state"]["recurrent_state"]["states"], state.model_state["recurrent_state"]["states"]
    )


def test_microbatches_continue_recurrent_state_like_the_whole_batch(state, quick):
    rng, begin = np.random.default_rng(0), np.int32([0, 40, 80, 120])
    graphs = trace_module(make_model)[1]
    batches = [
        {
            "inputs": {"text": rng.integers(0, 3, (4, 4)).astype(np.int32), "position": begin + 4 * t},
            "targets": rng.integers(0, 3, (4, 4)).astype(np.int32),
            "mask": np.array([True, True, True, t < 2]),
        }
        for t in range(3)
    ]
    found = []
    for microbatches in (1, 2):
        compute = jax.jit(
            make_gradients(graphs, Objective(losses.cross_entropy), FLOAT32, microbatches),
            compiler_options=quick,
        )
        rest, mine = fresh(state.model_state, 4), []
        for batch in batches:
            terms, _, rest, gradients = compute(state.params, rest, batch, jax.random.key(0))
            mine.append((terms, gradients))
        found.append(mine)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *found)
