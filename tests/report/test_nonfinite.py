"""A step that is not finite is explained by the parameter, the examples, or the gradient where it began."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.engine.state import named_leaves
from dltrain.engine.step import Objective
from dltrain.models.linear import Linear
from dltrain.report.nonfinite import explain
from dltrain.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture
def linear(make_program, spec):
    """`linear(loss)` is a program of the smallest model."""

    def make(loss):
        return make_program(objective=Objective(loss), make_model=lambda rngs: Linear(spec=spec, rngs=rngs))

    return make


def steep(outputs, batch):
    """The square root of zero: finite, with an infinite gradient."""
    del batch
    return jnp.sqrt(jnp.square(outputs).sum(-1) * 0)


def undefined(outputs, batch):
    """NaN for examples of class 1."""
    return jnp.where(batch["targets"] == 1, jnp.nan, outputs[:, 0])


def test_a_finite_loss_with_a_gradient_that_is_not_names_the_parameters(linear, tmp_path):
    program = linear(steep)
    state = program.start()
    result = explain(program, RunFolder(tmp_path), state, 1)
    names = list(named_leaves(state.params))
    assert f"\nfirst not finite: the gradient of {', '.join(names)}\n" in result and 0 < len(names) <= 8


def test_a_loss_that_is_not_finite_names_its_examples(linear, arrays, tmp_path):
    program = linear(undefined)
    examples = program.parts.pipeline.indices(0, 1)[0]
    wrong = examples[arrays["targets"][examples] == 1]
    result = explain(program, RunFolder(tmp_path), program.start(), 1)
    assert f"\nfirst not finite: the loss of examples {', '.join(map(str, wrong))}\n" in result and len(wrong)


def test_a_parameter_that_was_not_finite_before_the_step_is_named(linear, tmp_path):
    program = linear(steep)
    state = program.start()
    head = {**state.params["head"], "bias": jnp.full_like(state.params["head"]["bias"], np.inf)}
    result = explain(program, RunFolder(tmp_path), replace(state, params={**state.params, "head": head}), 1)
    assert "\nfirst not finite: the parameter head.bias, before the step\n" in result
