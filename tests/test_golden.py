"""The real step, driven by YAML, reproduces worked examples of the textbooks' update rules.

They are worked out by hand in the comments; a change of any of them is a change of meaning, never of a test.
"""

import jax
import numpy as np
import pytest
from few import few

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.engine.state import TrainState, named_leaves

pytestmark = pytest.mark.usefixtures("quickly_compiled")

HAND = ("data=inline", "model=linear", "loss=mse", "data.scale=none", "data.shuffle=false", "data.validation=0")
EIGHT = ("data.inputs=[1,2,3,4,5,6,7,8]", "data.targets=[2,4,6,8,10,12,14,16]")


def trained(steps: int, *words: str) -> tuple[TrainState, Program]:
    """Compose, assemble and train this many steps."""
    config = compose_words(*words, f"steps={steps}").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    state = program.start()
    state, _ = program.chunk(state, program.data, program.feed_chunk(0, steps), np.int32(steps))
    return state, program


def leaves_of(state: TrainState) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in named_leaves(state).items()}


def before_and_after(steps: int, *words: str) -> list[dict[str, np.ndarray]]:
    """Train this many steps; return the leaves of both states by name."""
    state, program = trained(steps, *words)
    return [leaves_of(program.start()), leaves_of(state)]


def after(steps: int, *words: str) -> dict[str, np.ndarray]:
    return before_and_after(steps, *words)[1]


def line(leaves: dict[str, np.ndarray]) -> tuple[float, float]:
    return leaves["params.head.kernel"].item(), leaves["params.head.bias"].item()


@few("words", [("optim=sgd", "batch_size=4"), ("optim=gd", "batch_size=all")], 1)
def test_full_batch(words):
    # dL/dw = mean(2·(0 - 2x)·x) = -30, dL/db = mean(2·(0 - 2x)) = -10
    assert line(after(1, *HAND, *words, "optim.learning_rate=0.01")) == pytest.approx((0.3, 0.1))


def test_examples_count_by_their_weights_in_the_loss_and_equally_in_metrics():
    # dL/dw = (1·2·(0 - 2)·1 + 3·2·(0 - 8)·4) / 4 = -49, dL/db = (1·2·(0 - 2) + 3·2·(0 - 8)) / 4 = -13
    words = (*HAND, "data.weights=[1,0,0,3]", "optim=sgd", "optim.learning_rate=0.01", "batch_size=4")
    state, program = trained(1, *words)
    assert line(leaves_of(state)) == pytest.approx((0.49, 0.13))
    # the errors of the four examples are now 2 - 0.62, 4 - 1.11, 6 - 1.6, 8 - 2.09
    found = program.evaluate(state, "train").scalars
    assert found["loss"] == pytest.approx((1.38**2 + 3 * 5.91**2) / 4)
    assert found["mse"] == pytest.approx((1.38**2 + 2.89**2 + 4.4**2 + 5.91**2) / 4)
    weightless = program.evaluator(*program.eval_params(state), np.array([1, 2], np.int32))
    assert np.isnan(weightless.scalars["loss"])  # not 0, which would be the best of all


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
        "task=binary",
        "data.inputs=[3,1]",
        "data.targets=[1,0]",
        *HAND[3:],
        "model=linear",
    )
    # at z = 0, ŷ = 0.5: for x = 3, y = 1 the gradient is (ŷ - y)·x = -1.5 and -0.5; for x = 1, y = 0 it is 0.5, 0.5
    leaves = after(1, *words, "optim=sgd", "optim.learning_rate=1", "batch_size=2", "loss=binary_cross_entropy")
    assert line(leaves) == pytest.approx((0.5, 0.0), abs=1e-7)


# One example x = (3, 4), weights and biases 1, so o = (8, 8); with y = (2, 0) the mean of the two squares has the
# slopes (6, 8): dL/dW = ((18, 24), (24, 32)), units of norm 30 and 40, W's 50; dL/db = (6, 8), norm 10; all √2600.
CLIPPED = {
    "norm: 25.49509756796392": ([[9, 12], [12, 16]], [3, 4]),  # all of them halved
    "block: 25": ([[9, 12], [12, 16]], [6, 8]),  # W halved, b within
    "value: 20": ([[18, 20], [20, 20]], [6, 8]),
    "adaptive: 14.14213562373095": ([[12, 12], [16, 16]], [6, 8]),  # the norm of a unit's weights is √2: at most 20
}


@pytest.mark.parametrize("clip", CLIPPED)
def test_a_gradient_is_clipped(clip):
    words = ("data.inputs=[[3,4]]", "data.targets=[[2,0]]", "model.kernel_init=ones", "model.bias_init=ones")
    words = (*words, "batch_size=1", "optim=sgd", "optim.learning_rate=1")
    leaves = after(1, *HAND, *words, f"optim.clip={{{clip}}}")
    kernel, bias = CLIPPED[clip]
    np.testing.assert_allclose(1 - leaves["params.head.kernel"], kernel, rtol=1e-6)
    np.testing.assert_allclose(1 - leaves["params.head.bias"], bias, rtol=1e-6)


def test_l2_adds_lambda_w_to_the_gradient_of_each_layer():
    words = ("data=inline", *HAND[2:], "model=mlp", "model.widths=[3]", "model.activation=tanh", "loss.l2=0.25")
    start, end = before_and_after(1, *words, "optim=sgd", "optim.learning_rate=1", "batch_size=4")
    x, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[2.0], [4.0], [6.0], [8.0]])
    names = ("params.hidden.0.kernel", "params.hidden.0.bias", "params.head.kernel", "params.head.bias")
    w1, b1, w2, b2 = (start[name].astype(np.float64) for name in names)
    h = np.tanh(x @ w1 + b1)
    slope = 2 * (h @ w2 + b2 - y) / len(x)  # ∂L/∂o
    back = slope @ w2.T * (1 - h**2)  # ∂J/∂z
    gradients = (x.T @ back + 0.25 * w1, back.sum(0), h.T @ slope + 0.25 * w2, slope.sum(0))
    for name, gradient in zip(names, gradients, strict=True):
        size = np.abs(gradient).max()
        np.testing.assert_allclose(start[name] - end[name], gradient, atol=2e-6 * size, err_msg=name)


def test_the_derivative_of_the_sigmoid_is_largest_at_zero_and_a_quarter_there():
    from dltrain.activations import sigmoid

    z = np.linspace(-6, 6, 121, dtype=np.float32)
    slope = np.asarray(jax.vmap(jax.grad(sigmoid))(z))
    assert slope[60] == 0.25
    assert np.argmax(slope) == 60
