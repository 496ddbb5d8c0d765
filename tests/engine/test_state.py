"""A run rebuilt from saved arrays at any step ends with the bits of an uninterrupted one."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from dltrain.build.init_from import with_weights
from dltrain.data.aligned import aligned
from dltrain.engine import state as states
from dltrain.engine.state import create, from_named, named_leaves, state_hash, trace_module
from dltrain.errors import CheckpointError
from dltrain.models.mlp import MLP
from dltrain.tree import count


@pytest.fixture(scope="module")
def saved(program):
    """The named leaves of a fresh state, NumPy; `from_named(program.shapes, saved, ...)` makes a state of them."""
    return on_host(program.start())


def on_host(state):
    return {name: np.array(value) for name, value in named_leaves(state).items()}


def trained(program, leaves, cuts):
    """Train 18 steps; at each cut only named NumPy arrays survive."""
    step = 0
    for end in (*cuts, 18):
        state = from_named(program.shapes, leaves, what="the test")
        n = end - step
        leaves = on_host(program.chunk(state, program.data, program.feed_chunk(step, n), np.int32(n))[0])
        step = end
    return leaves


def test_run_rebuilt_from_its_leaves_every_few_steps_gives_the_same_hash(program, saved):
    straight = trained(program, saved, ())
    assert straight["step"] == 18
    assert state_hash(trained(program, saved, (1, 4, 6, 11, 17))) == state_hash(straight)
    assert not np.array_equal(
        straight["model_state.norms.0.mean"], saved["model_state.norms.0.mean"]
    )  # batch norm was at work
    assert state_hash(straight) != state_hash(saved)


def test_hash_covers_every_bit_of_the_trained_state_only(saved):
    whole = state_hash(saved)
    assert state_hash(dict(reversed(saved.items()))) == whole
    for name, value in saved.items():
        flipped = value.copy()
        flipped.reshape(-1).view(np.uint8)[-1] ^= 1
        part = name.split(".")[0]
        assert (state_hash({**saved, name: flipped}) == whole) == (
            part in ("hparams", "active", "left_out", "updates")
        ), name
    kernel = saved["params.head.kernel"]
    assert state_hash({**saved, "params.head.kernel": kernel.reshape(-1)}) != whole


def test_unknown_xla_option_is_dropped(monkeypatch):
    monkeypatch.setattr(states, "_OPTIONS", {"xla_made_up_option": "1"})
    given = {"seed": 0, "hparams": {"learning_rate": np.float32(0.1)}}
    made = create(lambda rngs: nnx.Linear(2, 3, rngs=rngs), lambda hparams: optax.sgd(0.1), **given)
    assert made.params["kernel"].shape == (2, 3)


def test_leaves_have_parameter_names_and_rebuild_the_state(program, saved):
    assert {"params.hidden.0.kernel", "model_state.norms.0.var", "step", "key", "hparams.learning_rate"} <= set(
        saved
    )
    rebuilt = from_named(program.shapes, saved, what="the test")
    assert jax.tree.structure(rebuilt) == jax.tree.structure(program.shapes)
    assert jax.random.key_data(rebuilt.key).tolist() == saved["key"].tolist()
    assert count(rebuilt.params) == 16 * 6 + 6 + 6 + 6 + 6 * 3 + 3


def test_mismatched_leaves_are_an_error_with_both_shapes(program, saved):
    lacking = {name: value for name, value in saved.items() if name != "params.head.bias"}
    with pytest.raises(CheckpointError, match=r"checkpoint 3 lacks params\.head\.bias"):
        from_named(program.shapes, lacking, what="checkpoint 3")
    other = {**saved, "params.head.bias": np.zeros(5, np.float32)}
    with pytest.raises(CheckpointError, match=r"params\.head\.bias is float32\[5\], expected float32\[3\]"):
        from_named(program.shapes, other, what="checkpoint 3")
    with pytest.raises(CheckpointError, match=r"step is int64\[\], expected int32\[\]"):
        from_named(program.shapes, {**saved, "step": np.int64(0)}, what="checkpoint 3")


def test_state_has_no_memory_in_common_with_the_arrays_that_it_was_made_of(program, saved):
    """A CPU would use that of an array at a multiple of 64 bytes, and the next chunk would write into it."""
    arrays = {name: aligned(value.copy()) for name, value in saved.items()}
    state = from_named(program.shapes, arrays, what="the test")
    for value in arrays.values():
        value[...] = 1
    assert state_hash(on_host(state)) == state_hash(saved)


def test_weights_are_copied_where_name_and_shape_agree(program, saved):
    state = from_named(program.shapes, saved, what="the test")
    other = {name: value + 1 for name, value in saved.items() if name.startswith(("params.", "model_state."))}
    other |= {"params.head.kernel": np.ones((6, 10), np.float32), "params.extra": np.ones(3), "step": np.int32(99)}
    mixed, taken, left = with_weights(state, other)
    assert left == ["params.head.kernel"]
    assert sorted([*taken, *left]) == sorted(
        named_leaves({"params": state.params, "model_state": state.model_state})
    )
    for name, value in on_host(mixed).items():
        np.testing.assert_array_equal(value, other[name] if name in taken else saved[name], err_msg=name)


def test_seed_determines_parameters_and_the_key_of_the_run(spec):
    def start(seed):
        model, optimizer = lambda rngs: MLP((2,), spec=spec, rngs=rngs), lambda hparams: optax.sgd(1.0)
        return on_host(create(model, optimizer, seed=seed, hparams={"learning_rate": 0.1}))

    one, same, other = start(3), start(3), start(4)
    assert state_hash(one) == state_hash(same)
    for name in ("params.hidden.0.kernel", "params.head.kernel", "key"):
        assert not np.array_equal(one[name], other[name]), name


def test_both_modes_of_a_module_share_one_state_and_differ(program):
    module, graphs = trace_module(program.parts.make_model)
    assert graphs.train != graphs.eval
    assert all(
        isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(replace(program.shapes, key=None))
    )
    assert module is not None
