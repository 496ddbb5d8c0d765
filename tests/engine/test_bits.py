"""The bits are the same for any chunk length and any feed."""

import os
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.devices import runtime
from dltrain.engine.state import named_leaves, state_hash
from dltrain.models.cnn import CNN
from dltrain.models.layers import Norm

STEPS = 20
MODELS = {
    "mlp with dropout": {},  # what `make_parts` makes has batch norm as well
    "cnn with batch norm and dropout": {
        "make_model": lambda spec: (
            lambda rngs: CNN((3,), spec=spec, rngs=rngs, norm=Norm.BATCH, dense=(5,), dropout=0.25)
        )
    },
}


@pytest.fixture
def deterministic(monkeypatch):
    """`runtime.deterministic=true`, for one test."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    cached = jax.config.jax_enable_compilation_cache
    runtime.start(platform="cpu", threads=None, deterministic=True, cache=True)
    yield
    jax.config.update("jax_enable_compilation_cache", cached)


def trained(program, begin, most: int) -> str:
    """Train from a state in chunks of at most `most` steps, and return the hash of where that leads.

    A chunk has room for as many, but for `most=1`, which has room for two: room for one compiles to code that
    rounds otherwise (`Program.capacity`).
    """
    program.plan = replace(program.plan, intervals=(most,))
    state, step = jax.tree.map(jnp.copy, begin), 0  # a chunk takes the memory of what it is given
    while step < STEPS:
        n = min(most, STEPS - step)
        state, _ = program.chunk(state, program.data, program.feed_chunk(step, n), np.int32(n))
        step += n
    program.close()
    assert program.chunk._cache_size() == 1
    return state_hash({name: np.asarray(leaf) for name, leaf in named_leaves(state).items()})


def hashes(make_program, spec, model, ways) -> dict[tuple[int, str], str]:
    """Train one model with chunks of each length, with the given feed, from one initial state."""
    changes = {name: make(spec) for name, make in MODELS[model].items()}
    begin = make_program(total=64, **changes).start()
    how = {"resident": {}, "streamed": {"arrays": None}}
    return {
        (most, feed): trained(make_program(total=64, **changes, **how[feed]), begin, most) for most, feed in ways
    }


ALL = [(most, feed) for most in (1, 7, 64) for feed in ("resident", "streamed")]


@pytest.mark.parametrize(
    ("model", "ways"),
    [
        ("mlp with dropout", [ALL[0], ALL[3], ALL[5]]),
        pytest.param("cnn with batch norm and dropout", ALL, marks=pytest.mark.slow),
    ],
)
def test_chunks_of_1_7_and_64_steps_resident_and_streamed_give_one_hash(
    make_program, spec, model, ways, deterministic
):
    found = hashes(make_program, spec, model, ways)
    assert len(found) == len(ways)
    assert len(set(found.values())) == 1, found
