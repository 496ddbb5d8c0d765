"""The recurrent layers equal a plain loop, PyTorch's layers, and autodiff through the loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.ops.recurrent import gru, lstm

B, L, F, H = 3, 5, 4, 6
LAYERS = {"lstm": (lstm, 4), "gru": (gru, 3)}


pytestmark = pytest.mark.usefixtures("strict_dtypes")


def weights(name, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    gates = LAYERS[name][1]
    shapes = [(B, L, F), (F, gates * H), (H, gates * H), (gates * H,)] + [(H,)] * (name == "gru")
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def first_states(name, dtype="float32", seed=1):
    rng = np.random.default_rng(seed)
    states = tuple(rng.normal(size=(B, H)).astype(dtype) for _ in range(2))
    return states if name == "lstm" else states[0]


def mask():
    """Padding at the end, in the middle, and a row of nothing but padding."""
    return np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


def plain(xp, name, x, kernel, recurrent, bias, *rest, initial, mask):
    """The textbook's formulas in a Python loop, for NumPy and for jax.numpy."""

    def sigmoid(z):
        return 1 / (1 + xp.exp(-z))

    state, states = initial, []
    for t in range(x.shape[1]):
        if name == "lstm":
            cell, hidden = state
            z = x[:, t] @ kernel + hidden @ recurrent + bias[None]
            i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
            cell = sigmoid(f) * cell + sigmoid(i) * xp.tanh(g)
            new = (cell, sigmoid(o) * xp.tanh(cell))
        else:
            z, u = x[:, t] @ kernel + bias[None], state @ recurrent
            r, update = (sigmoid(z[:, k * H : (k + 1) * H] + u[:, k * H : (k + 1) * H]) for k in range(2))
            n = xp.tanh(z[:, 2 * H :] + r * (u[:, 2 * H :] + rest[0][None]))
            new = (1 - update) * n + update * state
        keep = mask[:, t][:, None]
        state = jax.tree.map(lambda a, b, keep=keep: xp.where(keep, a, b), new, state)
        states.append(state[1] if name == "lstm" else state)
    return xp.stack(states, 1), state


def assert_close(a, b, tolerance):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        left, right = np.asarray(left), np.asarray(right)
        scale = max(1.0, float(np.abs(right).max()))
        np.testing.assert_allclose(left / scale, right / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", LAYERS)
def test_values_equal_a_numpy_loop_in_double_precision(name):
    inputs, initial = weights(name, "float64"), first_states(name, "float64")
    expected = plain(np, name, *inputs, initial=initial, mask=mask())
    with jax.enable_x64(True):
        found = jax.jit(LAYERS[name][0])(*inputs, initial=initial, mask=mask())
    assert_close(found, expected, 1e-10)
    single = [a.astype("float32") for a in inputs]
    initial = jax.tree.map(lambda a: a.astype("float32"), initial)
    assert_close(jax.jit(LAYERS[name][0])(*single, initial=initial, mask=mask()), expected, 1e-5)


def scalar(layer, inputs, initial, **options):
    """A number that depends on every output in its own way."""
    outputs = jax.tree.leaves(layer(*inputs, initial=initial, **options))
    return sum(jnp.sum(jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape) * a) for a in outputs)


@pytest.mark.parametrize("steps", [mask(), None], ids=["masked", "whole"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_equal_autodiff_through_the_loop(name, steps, quick):
    inputs, initial = weights(name, "float64"), first_states(name, "float64")
    whole = np.ones((B, L), bool) if steps is None else steps
    with jax.enable_x64(True):
        gradient = jax.jit(
            jax.grad(partial(scalar, LAYERS[name][0], mask=steps), argnums=(0, 1)), compiler_options=quick
        )
        twin = jax.jit(
            jax.grad(partial(scalar, partial(plain, jnp, name), mask=whole), argnums=(0, 1)), compiler_options=quick
        )
        assert_close(gradient(inputs, initial), twin(inputs, initial), 1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_masked_steps_keep_the_state_to_the_bit(name):
    inputs, steps = weights(name), mask()
    states, last = jax.jit(LAYERS[name][0])(*inputs, initial=first_states(name), mask=steps)
    for row, t in zip(*np.nonzero(~steps[:, 1:]), strict=True):
        np.testing.assert_array_equal(states[row, t + 1], states[row, t])
    for start, end in zip(jax.tree.leaves(first_states(name)), jax.tree.leaves(last), strict=True):
        np.testing.assert_array_equal(end[2], start[2])


@pytest.mark.parametrize("name", LAYERS)
def test_what_stands_in_masked_steps_changes_nothing(name, quick):
    inputs, steps = weights(name), mask()
    run = jax.jit(jax.value_and_grad(partial(scalar, LAYERS[name][0], mask=steps)), compiler_options=quick)
    other = [np.where(steps[:, :, None], inputs[0], 1e3).astype("float32"), *inputs[1:]]
    (value, gradients), (value2, gradients2) = (run(a, first_states(name)) for a in (inputs, other))
    assert value == value2
    jax.tree.map(np.testing.assert_array_equal, gradients[1:], gradients2[1:])
    assert not np.any(gradients2[0][~steps])


@pytest.mark.parametrize("name", LAYERS)
def test_torch_gives_the_same_values_and_gradients(name):
    torch = pytest.importorskip("torch")
    x, kernel, recurrent, bias, *rest = weights(name)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](F, H, batch_first=True)
    inner = np.zeros_like(bias)
    if rest:
        inner[2 * H :] = rest[0]
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (kernel.T, recurrent.T, bias, inner), strict=True):
            parameter.copy_(torch.tensor(value))
    theirs = layer(torch.tensor(x))[0]
    theirs.pow(2).sum().backward()

    def loss(kernel, recurrent, bias):
        states, _ = LAYERS[name][0](x, kernel, recurrent, bias, *rest)
        return (states**2).sum(), states

    gradients, states = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(kernel, recurrent, bias)
    assert_close(states, theirs.detach().numpy(), 1e-5)
    expected = [p.grad.numpy().T for p in list(layer.parameters())[:3]]
    assert_close(gradients, expected, 1e-5)


def test_wrong_shapes_are_named():
    x, kernel, recurrent, bias = weights("lstm")
    with pytest.raises(ValueError, match=r"expected|found"):
        lstm(x, kernel[:, :-1], recurrent, bias)
    with pytest.raises(ValueError, match="mask of shape"):
        lstm(x, kernel, recurrent, bias, mask=mask()[:, :3])
