"""Several runs in one program: each lane is the run alone, and lanes do not affect one another."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dltrain.build.parts import with_numbers
from dltrain.engine.state import create, named_leaves

pytestmark = pytest.mark.usefixtures("quickly_compiled")

STEPS = 9
RATES = (0.001, 0.01, 0.1)


def begin(program, *, rate: float, seed: int = 0):
    return create(
        program.parts.make_model,
        program.parts.optimizer,
        seed=seed,
        hparams={"learning_rate": np.float32(rate), "total_steps": np.int32(program.plan.total)},
        batch_size=program.parts.pipeline.batch_size,
    )


def copies(states):
    return tuple(jax.tree.map(jnp.copy, state) for state in states)


def train(program, states, counts, given=None):
    given = given or (program.feed_chunk(0, STEPS),) * len(states)
    return program.lane_chunk(copies(states), program.data, given, np.array(counts, np.int32))


def leaves(state) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in named_leaves(state).items()}


def assert_same_bits(found, expected):
    for name, leaf in leaves(expected).items():
        np.testing.assert_array_equal(leaves(found)[name], leaf, err_msg=name)


@pytest.fixture(scope="module")
def program(make_program):
    """SGD: Adam would blow up the rounding of the gradients of biases before batch norm, which are 0."""
    return make_program(optimizer=lambda hparams: optax.sgd(hparams["learning_rate"]))


@pytest.fixture(scope="module")
def states(program):
    return tuple(begin(program, rate=rate, seed=i) for i, rate in enumerate(RATES))


@pytest.fixture(scope="module")
def together(program, states):
    return train(program, states, [STEPS] * 3)


def test_a_lane_is_the_run_alone(program, states, together):
    new, logs = together
    for lane, state in enumerate(states):
        (state,) = copies([state])
        alone, expected = program.chunk(state, program.data, program.feed_chunk(0, STEPS), np.int32(STEPS))
        for name, leaf in leaves(alone).items():
            np.testing.assert_allclose(leaves(new[lane])[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
        for name, values in expected.items():
            found, wanted = np.asarray(logs[name][lane, :STEPS]), np.asarray(values[:STEPS])
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
        assert int(new[lane].step) == STEPS


def test_the_order_of_lanes_does_not_matter(program, states, together):
    order = [2, 0, 1]
    new, _ = train(program, [states[i] for i in order], [STEPS] * 3)
    for lane, i in enumerate(order):
        for name, leaf in leaves(together[0][i]).items():  # jax 0.12 rounds differently in another place
            np.testing.assert_allclose(leaves(new[lane])[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_frozen_lane_is_an_absent_lane(program, states, together):
    frozen = replace(states[1], active=jnp.bool_(False))
    new, _ = train(program, [states[0], frozen, states[2]], [STEPS] * 3)
    assert_same_bits(new[1], frozen)
    for lane in (0, 2):
        assert_same_bits(new[lane], together[0][lane])


def test_a_lane_that_is_not_finite_stops_and_the_others_go_on(program, states, together):
    broken = begin(program, rate=float("nan"), seed=1)
    new, logs = train(program, [states[0], broken, states[2]], [STEPS] * 3)
    assert np.asarray(logs["finite"][1, :STEPS]).min() == 0 and not bool(new[1].active)
    for lane in (0, 2):
        assert_same_bits(new[lane], together[0][lane])


def test_each_lane_does_its_own_number_of_steps(program, states, together):
    part, _ = train(program, states, [STEPS, 4, 0])
    assert_same_bits(part[0], together[0][0])
    assert_same_bits(part[2], states[2])
    assert [int(state.step) for state in part] == [STEPS, 4, 0] and all(bool(state.active) for state in part)
    rest = program.feed_chunk(4, STEPS - 4)
    whole, _ = program.lane_chunk(part, program.data, (rest,) * 3, np.array([0, STEPS - 4, 0], np.int32))
    assert_same_bits(whole[1], together[0][1])


def test_lanes_may_read_batches_of_their_own(program, states):
    parts = with_seed(program.parts, 5)
    other = program.variant(parts, program.plan)
    given = (program.feed_chunk(0, STEPS), other.feed_chunk(0, STEPS), program.feed_chunk(0, STEPS))
    assert not np.array_equal(given[0][0], given[1][0])
    new, _ = train(program, states, [STEPS] * 3, given)
    (state,) = copies([states[1]])
    alone, _ = program.chunk(state, program.data, given[1], np.int32(STEPS))
    for name, leaf in leaves(alone).items():
        np.testing.assert_allclose(leaves(new[1])[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)


def with_seed(parts, seed):
    return replace(parts, pipeline=replace(parts.pipeline, seed=seed))


def test_other_numbers_keep_what_is_compiled(program):
    optim = {"_target_": "optax.adam", "learning_rate": 0.5, "clip": None, "rules": [], "groups": None}
    optim |= {"weight_decay_schedule": "constant"}
    config = {"optim": optim, "seed": program.parts.pipeline.seed, "callbacks": {}}
    parts = with_numbers(program.parts, config)
    assert parts.hparams["learning_rate"] == 0.5 and parts.optimizer is program.parts.optimizer
    assert parts.pipeline is program.parts.pipeline
    assert with_numbers(program.parts, {**config, "seed": 9}).pipeline.seed == 9
    assert program.variant(parts, program.plan).chunk is program.chunk
