"""The golden numbers of the textbooks' update rules come out of the real step, driven by YAML.

They are worked out by hand in the comments; a change of any of them is a change of meaning, never of a test.
"""

import numpy as np
import pytest

from dltrain.assemble import assemble
from dltrain.cli import compose_words
from dltrain.engine.state import named_leaves
from dltrain.plan import make_plan
from dltrain.program import Program

HAND = ("data=inline", "model=linear", "loss=mse", "data.scale=none", "data.shuffle=false", "data.validation=0")
EIGHT = ("data.inputs=[1,2,3,4,5,6,7,8]", "data.targets=[2,4,6,8,10,12,14,16]")


def after(steps: int, *words: str) -> dict[str, np.ndarray]:
    """Compose, assemble and train so many steps; return the leaves of the state by name."""
    config = compose_words(*words, f"steps={steps}").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    state = program.start()
    state, _ = program.chunk(state, program.data, program.feed(0, steps), np.int32(steps))
    return {name: np.asarray(leaf) for name, leaf in named_leaves(state).items()}


def line(leaves: dict[str, np.ndarray]) -> tuple[float, float]:
    return leaves["params.head.kernel"].item(), leaves["params.head.bias"].item()


def test_full_batch():
    # dL/dw = mean(2·(0 - 2x)·x) = -30, dL/db = mean(2·(0 - 2x)) = -10
    assert line(after(1, *HAND, "optim=sgd", "optim.learning_rate=0.01", "batch_size=4")) == pytest.approx(
        (0.3, 0.1)
    )


def test_two_mini_batches_in_order():
    words = (*HAND, *EIGHT, "optim=sgd", "optim.learning_rate=0.01", "batch_size=4")
    assert line(after(1, *words)) == pytest.approx((0.3, 0.1))
    assert line(after(2, *words)) == pytest.approx((1.766, 0.319), rel=1e-6)


def test_one_example_at_a_time():
    # dL/dw = 2·(0 - 2)·1 = -4, dL/db = -4
    assert line(after(1, *HAND, "optim=sgd", "optim.learning_rate=0.01", "batch_size=1")) == pytest.approx(
        (0.04, 0.04)
    )


def test_momentum_in_the_scaled_form():
    momentum = ("optim=momentum", "optim.momentum=0.9", "optim.form=scaled", "optim.learning_rate=0.01")
    leaves = after(1, *HAND, *momentum, "batch_size=1")
    velocity = {name: value.item() for name, value in leaves.items() if "velocity" in name}
    assert len(velocity) == 2
    assert list(velocity.values()) == pytest.approx([-0.04, -0.04])
    assert line(leaves) == pytest.approx((0.04, 0.04))
    # second example x = 2, y = 4: e = 0.12 - 4 = -3.88; v = 0.9·v + 0.01·(2·e·x, 2·e) = (-0.1912, -0.1136)
    assert line(after(2, *HAND, *momentum, "batch_size=1")) == pytest.approx((0.2312, 0.1536), rel=1e-6)


def test_a_sigmoid_output_with_cross_entropy_has_the_gradient_y_hat_minus_y_at_the_logit():
    words = (
        "data=inline",
        "data.task=binary",
        "data.inputs=[3,1]",
        "data.targets=[1,0]",
        *HAND[3:],
        "model=linear",
    )
    # at z = 0, ŷ = 0.5: for x = 3, y = 1 the gradient is (ŷ - y)·x = -1.5 and -0.5; for x = 1, y = 0 it is 0.5, 0.5
    leaves = after(1, *words, "optim=sgd", "optim.learning_rate=1", "batch_size=2", "loss=binary_cross_entropy")
    assert line(leaves) == pytest.approx((0.5, 0.0), abs=1e-7)


def test_l2_adds_lambda_w_to_the_gradient_of_each_layer():
    words = ("data=inline", *HAND[2:], "model=mlp", "model.widths=[3]", "model.activation=tanh", "optim=sgd")
    words = (*words, "optim.learning_rate=1", "batch_size=4")
    start = after(1, *words, "optim.learning_rate=1e-30")
    plain, penalised = after(1, *words), after(1, *words, "loss.l2=0.25")
    for name in ("params.hidden.0.kernel", "params.head.kernel"):
        np.testing.assert_allclose(plain[name] - penalised[name], 0.25 * start[name], atol=2e-5, err_msg=name)
    for name in ("params.hidden.0.bias", "params.head.bias"):
        np.testing.assert_allclose(plain[name], penalised[name], atol=1e-6, err_msg=name)


def test_the_derivative_of_the_sigmoid_is_largest_at_zero_and_a_quarter_there():
    import jax

    from dltrain.activations import sigmoid

    z = np.linspace(-6, 6, 121, dtype=np.float32)
    slope = np.asarray(jax.vmap(jax.grad(sigmoid))(z))
    assert slope[60] == 0.25
    assert np.argmax(slope) == 60
