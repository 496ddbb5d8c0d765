"""Chunks of any length compute the same, in one executable."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from dltrain.engine.chunk import FEED_BYTES, MOST_STEPS, capacity, make_chunk
from dltrain.engine.state import named_leaves, state_hash
from dltrain.lanes.chunk import make_lane_chunk


def trained(program, cuts):
    """Train 18 steps in chunks that end at `cuts`; return the hash of the state and the losses."""
    state, losses, step = program.start(), [], 0
    for end in (*cuts, 18):
        state, logs = program.chunk(state, program.data, program.feed_chunk(step, end - step), np.int32(end - step))
        losses += np.asarray(logs["loss"])[: end - step].tolist()
        step = end
    return state_hash({n: np.asarray(v) for n, v in named_leaves(state).items()}), losses


def test_splitting_a_run_anywhere_changes_no_bit_and_compiles_once(program):
    whole = trained(program, ())
    for cuts in (range(1, 18), (7, 14), (16,), (1, 17)):
        assert trained(program, tuple(cuts)) == whole
    assert program.chunk._cache_size() == 1


def test_training_changes_the_state_and_lowers_the_loss(program):
    _, losses = trained(program, ())
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_inactive_state_is_unchanged(program):
    state = program.start()
    before = jax.device_get(named_leaves(state))
    state, _ = program.chunk(
        replace(state, active=jax.numpy.bool_(False)), program.data, program.feed_chunk(0, 5), np.int32(5)
    )
    after = jax.device_get(named_leaves(state))
    for name, value in before.items():
        if name != "active":
            np.testing.assert_array_equal(value, after[name], err_msg=name)


@pytest.mark.parametrize(("batch", "most"), [(1, MOST_STEPS), (128, MOST_STEPS), (60_000, FEED_BYTES // 240_000)])
def test_capacity_is_bounded_by_bytes_and_steps(batch, most):
    assert capacity(4 * batch) == most
    assert capacity(4 * batch) * batch * 4 <= FEED_BYTES


def test_step_copies_no_kernel_before_overwriting_it(program):
    count = np.int32(1)
    text = program.chunk.lower(program.start(), program.data, program.feed_chunk(0, 1), count).compile().as_text()
    kernels = {name: v.shape for name, v in named_leaves(program.shapes.params).items() if v.ndim == 2}
    assert kernels
    for name, (rows, columns) in kernels.items():
        assert not re.findall(rf"= f32\[{rows},{columns}\]\S* copy\(", text), name


def test_a_step_and_a_batch_of_an_evaluation_are_traced_once(program, make_program):
    """To trace takes as long as to start a small run; their shapes are asked for before they are used."""
    traced = []

    def step(state, picked):
        traced.append("step")
        return program._step(state, picked)

    def loss(outputs, batch):
        traced.append("loss")
        return program.parts.objective.loss(outputs, batch)

    given, shapes = program.input_shapes, program.shapes
    make_chunk(step, program._pick_given).eval_shape(shapes, program.feed.shapes, given, np.int32(1))
    assert traced == ["step"]
    lanes = make_lane_chunk(step, program._pick_given)
    lanes.eval_shape((shapes,) * 2, program.feed.shapes, (given,) * 2, np.ones(2, np.int32))
    assert traced == ["step"] * 2
    other = make_program()
    other.parts = replace(other.parts, objective=replace(other.parts.objective, loss=loss))
    other.evaluator.trace(shapes.params, shapes.model_state)
    assert traced == ["step"] * 2 + ["loss"]
