"""Floating-point types of parameters and of computation; float32 changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.devices.precision import PRECISIONS
from dltrain.tree import norm

pytestmark = pytest.mark.usefixtures("quickly_compiled")

WORDS = ("data=iris", "model.widths=[8]", "model.norm=batch", "model.dropout=0.1", "steps=12", "log_every=1")


def trained(precision: str):
    """Train a few steps: (program, state, losses)."""
    config = compose_words(*WORDS, f"runtime.precision={precision}", "eval_every=12", "checkpoint_every=12").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    state, logs = program.chunk(program.start(), program.data, program.feed_chunk(0, 12), np.int32(12))
    return program, state, np.asarray(logs["loss"])


def floats(tree) -> set[str]:
    return {str(x.dtype) for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)}


@pytest.fixture(scope="module")
def exact():
    return trained("float32")


@pytest.mark.parametrize(("precision", "kept"), [("mixed", "float32"), ("bfloat16", "bfloat16")])
def test_parameters_keep_their_type_and_statistics_are_float32(exact, precision, kept):
    program, state, losses = trained(precision)
    assert floats((state.params, state.opt_state)) == {kept}
    assert floats(state.model_state) == {"float32"}
    # bfloat16 has 8 bits: a step is off by about 2^-8 of itself, never by nothing
    assert 0 < np.abs(losses - exact[2]).max() < 0.05
    found = program.evaluate(state, "validation")
    assert found.scalars["loss"] == pytest.approx(
        exact[0].evaluate(exact[1], "validation").scalars["loss"], abs=0.05
    )
    assert program.outputs(state, np.arange(3)).dtype == np.float32


@pytest.mark.parametrize("precision", ["float32", "mixed", "bfloat16"])
def test_model_computes_in_the_chosen_type(precision):
    config = compose_words(*WORDS, f"runtime.precision={precision}").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    text = program.chunk.lower(program.shapes, program.feed.shapes, program.input_shapes, np.int32(1)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    wanted = "f32" if precision == "float32" else "bf16"
    assert products and all(line.split("->")[-1].split("x")[-1].startswith(wanted) for line in products)


def test_norms_are_summed_in_float32():
    many = {"a": jnp.full((300, 300), 0.1, jnp.bfloat16)}
    assert float(norm(many)) == pytest.approx(300 * float(jnp.bfloat16(0.1)), rel=1e-6)


def test_float32_changes_no_array():
    tree = {"a": jnp.ones(3), "n": jnp.arange(3)}
    for kept in (PRECISIONS["float32"].cast_to_param(tree), PRECISIONS["float32"].cast_to_compute(tree)):
        assert kept is tree
