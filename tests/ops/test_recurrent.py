"""Recurrent layers equal a plain loop and the layers of PyTorch; gradients equal complex-step derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from dltrain.ops.recurrent import gru, lstm

B, L, F, H = 3, 5, 4, 6
LAYERS = {"lstm": (lstm, 4), "gru": (gru, 3)}


pytestmark = pytest.mark.usefixtures("strict_dtypes")


def weights(name, dtype="float32", seed=0, sizes=(B, L, F, H)):
    rng, (rows, steps, features, hidden) = np.random.default_rng(seed), sizes
    wide = LAYERS[name][1] * hidden
    shapes = [(rows, steps, features), (features, wide), (hidden, wide), (wide,)] + [(hidden,)] * (name == "gru")
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def first_states(name, dtype="float32", seed=1, sizes=(B, L, F, H)):
    rng = np.random.default_rng(seed)
    states = tuple(rng.normal(size=(sizes[0], sizes[-1])).astype(dtype) for _ in range(2))
    return states if name == "lstm" else states[0]


def mask():
    """Padding at the end, in the middle, and an example of padding only."""
    return np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


@st.composite
def cases(draw):
    """Examples, steps, features and hidden units, and the mask of the steps; 1 of each is the edge case."""
    rows, steps, features, hidden = (draw(st.integers(1, most)) for most in (3, 4, 3, 5))
    there = draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=rows * steps, max_size=rows * steps)))
    name = draw(st.sampled_from(list(LAYERS)))
    return name, (rows, steps, features, hidden), None if there is None else np.reshape(there, (rows, steps))


def check_cases(cases, dtype, agree, quick):
    """Compare values and gradients with the plain loop in float64; compiled as one program."""

    def results(name, inputs, initial, steps):
        def number(inputs, initial):
            outputs = LAYERS[name][0](*inputs, initial=initial, mask=steps)
            return weighted(outputs), outputs

        gradients, outputs = jax.grad(number, argnums=(0, 1), has_aux=True)(inputs, initial)
        return outputs, gradients

    @partial(jax.jit, compiler_options=quick)
    def all_of_them(data):
        return [results(name, *given, steps) for (name, _, steps), given in zip(cases, data, strict=True)]

    exact = [(weights(name, "float64", sizes=s), first_states(name, "float64", sizes=s)) for name, s, _ in cases]
    with jax.enable_x64(True):
        found = all_of_them(jax.tree.map(lambda a: a.astype(dtype), exact))
    for (name, sizes, steps), (inputs, initial), ours in zip(cases, exact, found, strict=True):
        whole = np.ones(sizes[:2], bool) if steps is None else steps
        expected = plain(name, *inputs, initial=initial, mask=whole), by_complex_steps(name, inputs, initial, whole)
        for part, wanted in zip(ours, expected, strict=True):
            assert jax.tree.map(np.shape, part) == jax.tree.map(np.shape, wanted)
            leaves = [jax.tree.leaves(tree) for tree in (part, wanted)]
            for one, right in [map(flat, leaves)] if dtype == "float32" else zip(*leaves, strict=True):
                agree(one, right, str((name, sizes, steps)))


def flat(arrays):
    """Write all values of a case, or all its gradients, as one vector with one largest magnitude.

    A gradient of a single number is a sum whose terms may cancel: in float32 its digits are those of the terms.
    """
    return np.concatenate([np.ravel(array) for array in arrays])


def by_complex_steps(name, inputs, initial, steps):
    """The gradients of `weighted` as Im f(x + ih) / h, exact to rounding where h² is negligible compared with x.

    Squire and Trapp 1998. Every number of every array is disturbed at once, each in a row of a new first axis.
    """
    arrays, tree = jax.tree.flatten((inputs, initial))
    ends = np.cumsum([a.size for a in arrays])
    disturbed = [np.broadcast_to(a, (ends[-1], *a.shape)).astype(complex) for a in arrays]
    for whole, array, end in zip(disturbed, arrays, ends, strict=True):
        whole[end - array.size : end].reshape(array.size, array.size)[...] += 1e-30j * np.eye(array.size)
    inputs, initial = jax.tree.unflatten(tree, disturbed)
    outputs = jax.tree.leaves(plain(name, *inputs, initial=initial, mask=steps))
    number = sum(a.reshape(ends[-1], -1) @ np.cos(np.arange(a[0].size)) for a in outputs)
    slopes = np.split(number.imag / 1e-30, ends[:-1])
    return jax.tree.unflatten(tree, [s.reshape(a.shape) for s, a in zip(slopes, arrays, strict=True)])


CHOSEN = [(name, (B, L, F, H), steps) for name in LAYERS for steps in (mask(), None)]


@pytest.mark.parametrize(("dtype", "chosen", "count"), [("float64", [], 8), ("float32", CHOSEN, 2)])
def test_values_and_gradients_equal_a_plain_loop(dtype, chosen, count, drawn, agree, quick):
    check_cases([*chosen, *drawn(cases(), count)], dtype, agree, quick)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_and_gradients_equal_a_plain_loop_in_hundreds_of_shapes(dtype, drawn, agree, quick):
    found = [*CHOSEN, *drawn(cases(), 200)]
    for first in range(0, len(found), 20):
        check_cases(found[first : first + 20], dtype, agree, quick)


def plain(name, x, kernel, recurrent, bias, *rest, initial, mask):
    """The textbook's formulas in NumPy, step by step; more axes may precede all arrays but the mask."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def step(state, x, there):
        if name == "lstm":
            cell, hidden = state
            i, f, g, o = np.split(x @ kernel + hidden @ recurrent + bias[..., None, :], 4, -1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            new = (cell, sigmoid(o) * np.tanh(cell))
        else:
            z, u = (np.split(y, 3, -1) for y in (x @ kernel + bias[..., None, :], state @ recurrent))
            r, update = (sigmoid(z[k] + u[k]) for k in range(2))
            n = np.tanh(z[2] + r * (u[2] + rest[0][..., None, :]))
            new = (1 - update) * n + update * state
        return jax.tree.map(lambda a, b: np.where(there[:, None], a, b), new, state)

    state, states = initial, []
    for now, there in zip(np.moveaxis(x, -2, 0), mask.T, strict=True):
        state = step(state, now, there)
        states.append(state[1] if name == "lstm" else state)
    return np.stack(states, -2), state


def assert_close(a, b, tolerance):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        left, right = np.asarray(left), np.asarray(right)
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * float(np.abs(right).max()))


@pytest.mark.parametrize("name", LAYERS)
def test_values_equal_a_numpy_loop_in_double_precision(name):
    inputs, initial = weights(name, "float64"), first_states(name, "float64")
    expected = plain(name, *inputs, initial=initial, mask=mask())
    with jax.enable_x64(True):
        found = jax.jit(LAYERS[name][0])(*inputs, initial=initial, mask=mask())
    assert_close(found, expected, 1e-10)
    single = [a.astype("float32") for a in inputs]
    initial = jax.tree.map(lambda a: a.astype("float32"), initial)
    assert_close(jax.jit(LAYERS[name][0])(*single, initial=initial, mask=mask()), expected, 1e-5)


def weighted(outputs):
    """A number that depends on each output differently."""
    outputs = jax.tree.leaves(outputs)
    return sum(jnp.sum(jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape) * a) for a in outputs)


def scalar(layer, inputs, initial, **options):
    return weighted(layer(*inputs, initial=initial, **options))


@pytest.mark.parametrize("name", LAYERS)
def test_masked_steps_keep_the_state_bit_for_bit(name):
    inputs, steps = weights(name), mask()
    states, last = jax.jit(LAYERS[name][0])(*inputs, initial=first_states(name), mask=steps)
    for row, t in zip(*np.nonzero(~steps[:, 1:]), strict=True):
        np.testing.assert_array_equal(states[row, t + 1], states[row, t])
    for start, end in zip(jax.tree.leaves(first_states(name)), jax.tree.leaves(last), strict=True):
        np.testing.assert_array_equal(end[2], start[2])


@pytest.mark.parametrize("name", LAYERS)
def test_inputs_of_masked_steps_change_nothing(name, quick):
    inputs, steps = weights(name), mask()
    run = jax.jit(jax.value_and_grad(partial(scalar, LAYERS[name][0], mask=steps)), compiler_options=quick)
    other = [np.where(steps[:, :, None], inputs[0], 1e3).astype("float32"), *inputs[1:]]
    (value, gradients), (value2, gradients2) = (run(a, first_states(name)) for a in (inputs, other))
    assert value == value2
    jax.tree.map(np.testing.assert_array_equal, gradients[1:], gradients2[1:])
    assert not np.any(gradients2[0][~steps])


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_equal_torch(name):
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


def test_wrong_shapes_are_an_error():
    x, kernel, recurrent, bias = weights("lstm")
    with pytest.raises(ValueError, match=r"expected|found"):
        lstm(x, kernel[:, :-1], recurrent, bias)
    with pytest.raises(ValueError, match="mask of shape"):
        lstm(x, kernel, recurrent, bias, mask=mask()[:, :3])
