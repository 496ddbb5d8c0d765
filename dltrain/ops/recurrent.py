"""Recurrent layers over whole sequences: small loops on a CPU, elsewhere a scan over the formula.

Hand-written, since flax's cells under a scan are slower on a CPU, and their rounding depends on the padded length.
The CPU forms share this: gradients are hand-written; a loop contains one product; all gates of a step come from one
`tanh` (a sigmoid is tanh(z/2)/2 + 1/2, so the weights of sigmoid gates are halved beforehand); local derivatives
are computed for all steps at once before the backward loop; the gradient of the recurrent weight is one product
after it. In any form a masked step keeps the state bit for bit. The file is over 300 lines: the three layers share
most of these functions.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dltrain.ops import divided, lowering

Array = jax.Array


def lstm(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    initial: tuple[Array, Array] | None = None,
    mask: Array | None = None,
) -> tuple[Array, tuple[Array, Array]]:
    """Long short-term memory: x [B, L, F] -> hidden states [B, L, H] and the last (cell, hidden), each [B, H].

    kernel [F, 4H], recurrent_kernel [H, 4H] and bias [4H] hold the gates in the order input, forget, cell
    candidate, output (i, f, g, o; the order of PyTorch). initial: the first (cell, hidden), zeros if None.
    mask: bool [B, L]; where it is False, the state does not change and the step returns the previous hidden state.

    c = σ(f)·c + σ(i)·tanh(g), h = σ(o)·tanh(c) (Hochreiter and Schmidhuber 1997; Gers et al. 2000).
    """
    size = recurrent_kernel.shape[0]
    _check(x, kernel, recurrent_kernel, (bias, 4 * size), mask, gates=4)
    zeros = jnp.zeros((x.shape[0], size), x.dtype)
    cell, hidden = initial if initial is not None else (zeros, zeros)
    return _by_platform(_cpu_lstm, _stock_lstm, x, kernel, recurrent_kernel, bias, cell, hidden, mask)


def gru(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    recurrent_bias: Array,
    *,
    initial: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Gated recurrent unit: x [B, L, F] -> hidden states [B, L, H] and the last one [B, H].

    kernel [F, 3H], recurrent_kernel [H, 3H] and bias [3H] hold the gates in the order reset, update, candidate
    (r, z, n; the order of PyTorch); recurrent_bias [H] is multiplied by the reset gate. `initial` and `mask` as in
    `lstm`.

    n = tanh(Wx + b + r·(Uh + b')), h = (1 - z)·n + z·h (Cho et al. 2014, in the form of cuDNN and PyTorch).
    """
    size = recurrent_kernel.shape[0]
    _check(x, kernel, recurrent_kernel, (bias, 3 * size), mask, gates=3)
    hidden = initial if initial is not None else jnp.zeros((x.shape[0], size), x.dtype)
    return _by_platform(_cpu_gru, _stock_gru, x, kernel, recurrent_kernel, bias, recurrent_bias, hidden, mask)


def _by_platform(cpu: Callable[..., Any], stock: Callable[..., Any], *arguments: Any) -> Any:
    # The choice encloses both forms instead of being inside a hand-written gradient: each form then saves what its
    # backward pass needs, and zeros for the other, which XLA drops. Time of value and gradient on a CPU relative to
    # the scan, in a loop on busy cores (128 units, batch 128, 28 steps of 28; medians of 11 runs, twice): GRU 0.90
    # and 1.04, RNN 0.93 and 0.75.
    # On several devices the gradient of the scan would be summed over them at every step of the sequence; that of
    # the form for the CPU is one product, which is summed once.
    if divided.is_sharded():
        return cpu(*arguments)
    if lowering.is_stock():
        return stock(*arguments)
    return lax.platform_dependent(*arguments, cpu=cpu, default=stock)


def _check(x: Array, kernel: Array, recurrent: Array, bias: tuple[Array, int], mask: Array | None, *, gates: int):
    size = recurrent.shape[0]
    found = [kernel.shape, recurrent.shape, bias[0].shape]
    expected = [(x.shape[-1], gates * size), (size, gates * size), (bias[1],)]
    if x.ndim != 3 or found != expected:
        raise ValueError(f"x {x.shape} needs kernel, recurrent_kernel and bias of shapes {expected}, found {found}")
    if mask is not None and mask.shape != x.shape[:2]:
        raise ValueError(f"x {x.shape} needs a mask of shape {x.shape[:2]}, found {mask.shape}")


def _scales(kinds: tuple[str, ...], size: int, dtype: jnp.dtype) -> Array:
    values = [0.5 if kind == "half" else 1.0 for kind in kinds]
    return jnp.repeat(jnp.array(values, dtype), size)[None, :]


def _project(x: Array, kernel: Array, mask: Array | None) -> Array:
    """Multiply all steps by the kernel, in one product unless some are masked: [B, L, F] -> [L, B, gates].

    The bias is added in the loop, where it costs nothing: here it would be another pass over the largest array
    (13 % of a step of LSTM 128, batch 128, 28 steps of 28).
    """
    if mask is not None:
        return _project_in_turn(x, kernel)
    x = x.swapaxes(0, 1)
    if divided.is_sharded():
        return x @ kernel
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:2], -1)


@jax.custom_vjp
def _project_in_turn(x: Array, kernel: Array) -> Array:
    """Multiply step by step: a product of all steps rounds by their number, so that padding would change bits."""
    return lax.map(lambda step: step @ kernel, x.swapaxes(0, 1))


def _in_turn_backward(saved: tuple[Array, Array], dz: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return (dz @ kernel.T).swapaxes(0, 1), _outer(x.swapaxes(0, 1), dz)


_project_in_turn.defvjp(lambda x, kernel: (_project_in_turn(x, kernel), (x, kernel)), _in_turn_backward)


def _steps(mask: Array | None) -> Array | None:
    return None if mask is None else mask.astype(bool).T[:, :, None]


def _before(first: Array, states: Array) -> Array:
    return jnp.concatenate([first[None], states[:-1]])


def _cpu_lstm(x, kernel, recurrent, bias, cell, hidden, mask):
    scale = _scales(("half", "half", "one", "half"), recurrent.shape[0], x.dtype)
    weights = kernel * scale, recurrent * scale, bias * scale[0]
    states, last = _lstm(x.swapaxes(0, 1), *weights, cell, hidden, _steps(mask))
    return states.swapaxes(0, 1), last


@jax.custom_vjp
def _lstm(x: Array, kernel: Array, weight: Array, bias: Array, cell: Array, hidden: Array, mask: Array | None):
    return _lstm_forward(x, kernel, weight, bias, cell, hidden, mask)[0]


def _lstm_forward(
    x: Array, kernel: Array, weight: Array, bias: Array, cell: Array, hidden: Array, mask: Array | None
):
    # The hidden state and input of a step, and a 1 for the bias, are one row, so that a step is one product and
    # nothing is projected before the loop: 15.3 instead of 16.9 ms per training step (LSTM 128, batch 128, 28 steps
    # of 28, 2 cores). With these rows the weight gradients are one product, too.
    length, batch, _ = x.shape
    size = hidden.shape[-1]
    stacked = jnp.concatenate([weight, kernel, bias[None]])
    room, one = (jnp.full((length, batch, n), value, x.dtype) for n, value in ((size, 0), (1, 1)))
    rows = jnp.pad(jnp.concatenate([room, x, one], -1), ((0, 1), (0, 0), (0, 0))).at[0, :, :size].set(hidden)

    def step(t, state):
        rows, gates, cells, cell = state
        row = _at(rows, t)
        z = jnp.tanh(row @ stacked)
        i, f, g, o = jnp.split(z, 4, -1)
        new_cell = (0.5 * f + 0.5) * cell + (0.5 * i + 0.5) * g
        new_hidden = (0.5 * o + 0.5) * jnp.tanh(new_cell)
        if mask is not None:
            keep = _at(mask, t)
            new_cell, new_hidden = jnp.where(keep, new_cell, cell), jnp.where(keep, new_hidden, row[:, :size])
        return _put(rows, t + 1, new_hidden), _put(gates, t, z), _put(cells, t, new_cell), new_cell

    gates, cells = (jnp.zeros((length, batch, n), x.dtype) for n in (4 * size, size))
    rows, gates, cells, last = lax.fori_loop(0, length, step, (rows, gates, cells, cell))
    states = rows[1:, :, :size]
    return (states, (last, rows[length, :, :size])), (rows, gates, cells, kernel, weight, cell, mask)


def _lstm_backward(saved, cotangents):
    rows, gates, cells, kernel, weight, cell, mask = saved
    dstates, (dcell, dhidden) = cotangents
    i, f, g, o = jnp.split(gates, 4, -1)
    squashed = jnp.tanh(cells)
    forget = 0.5 * f + 0.5
    through = (0.5 * o + 0.5) * (1 - squashed**2)  # from the hidden state to the cell
    local = jnp.concatenate(  # from the cell (the last quarter: from the hidden state) to the gates
        [
            g * (0.5 - 0.5 * i**2),
            _before(cell, cells) * (0.5 - 0.5 * f**2),
            (0.5 * i + 0.5) * (1 - g**2),
            squashed * (0.5 - 0.5 * o**2),
        ],
        -1,
    )
    if mask is not None:
        local, through = jnp.where(mask, local, 0), jnp.where(mask, through, 0)
        forget = jnp.where(mask, forget, 1)
    transposed = weight.T  # once, here: transposing inside the loop takes 2.5 times as long
    length = len(cells)

    def step(n, state):
        t = length - 1 - n
        dz, dcell, dhidden = state  # `dz` replaces `local` step by step: no second array of that size
        dhidden = dhidden + _at(dstates, t)
        dcell = dcell + dhidden * _at(through, t)
        new = jnp.concatenate([dcell, dcell, dcell, dhidden], -1) * _at(dz, t)
        before = new @ transposed
        if mask is not None:
            before = before + jnp.where(_at(mask, t), 0, dhidden)
        return _put(dz, t, new), dcell * _at(forget, t), before

    dz, dcell, dhidden = lax.fori_loop(0, length, step, (local, dcell, dhidden))
    dweight, dkernel, dbias = jnp.split(_outer(rows[:-1], dz), [len(weight), len(weight) + len(kernel)])
    return dz @ kernel.T, dkernel, dweight, dbias[0], dcell, dhidden, None


_lstm.defvjp(_lstm_forward, _lstm_backward)


def _at(array: Array, t: Array) -> Array:
    return lax.dynamic_index_in_dim(array, t, keepdims=False)


def _put(array: Array, t: Array, value: Array) -> Array:
    """Overwrite the first columns of row t."""
    return lax.dynamic_update_slice(array, value[None], (t, *[0] * value.ndim))


def _outer(left: Array, right: Array) -> Array:
    """Sum the outer products over steps and examples: [L, B, M], [L, B, N] -> [M, N]."""
    if divided.is_sharded():  # a reshape would bring all examples to each device
        return jnp.einsum("lbm,lbn->mn", left, right)
    # Transposed into a separate array first: 3.3 ms with that copy and 6.7 without (M 157, N 512, 3584 rows).
    left = lax.optimization_barrier(left.reshape(-1, left.shape[-1]).T)
    return left @ right.reshape(-1, right.shape[-1])


def _cpu_gru(x, kernel, recurrent, bias, inner_bias, hidden, mask):
    scale = _scales(("half", "half", "one"), recurrent.shape[0], x.dtype)
    projected = _project(x, kernel * scale, mask)
    states, last = _gru(projected, recurrent * scale, bias * scale[0], inner_bias, hidden, _steps(mask))
    return states.swapaxes(0, 1), last


@jax.custom_vjp
def _gru(z: Array, weight: Array, bias: Array, inner_bias: Array, hidden: Array, mask: Array | None):
    return _gru_forward(z, weight, bias, inner_bias, hidden, mask)[0]


def _gru_forward(z: Array, weight: Array, bias: Array, inner_bias: Array, hidden: Array, mask: Array | None):
    size = hidden.shape[-1]

    def step(hidden, inputs):
        z, keep = inputs
        z = z + bias[None, :]
        product = hidden @ weight
        gates = jnp.tanh(z[:, : 2 * size] + product[:, : 2 * size])
        r, u = jnp.split(0.5 * gates + 0.5, 2, -1)
        inner = product[:, 2 * size :] + inner_bias[None, :]
        n = jnp.tanh(z[:, 2 * size :] + r * inner)
        new = n + u * (hidden - n)
        if keep is not None:
            new = jnp.where(keep, new, hidden)
        return new, (gates, inner, n, new)

    last, (gates, inner, n, states) = lax.scan(step, hidden, (z, mask))
    return (states, last), (gates, inner, n, states, weight, hidden, mask)


def _gru_backward(saved, cotangents):
    gates, inner, n, states, weight, hidden, mask = saved
    dstates, dhidden = cotangents
    r, u = jnp.split(gates, 2, -1)
    reset, update = 0.5 * r + 0.5, 0.5 * u + 0.5
    before = _before(hidden, states)
    candidate = (1 - update) * (1 - n**2)
    local_r = candidate * inner * (0.5 - 0.5 * r**2)
    local_u = (before - n) * (0.5 - 0.5 * u**2)
    local = jnp.concatenate([local_r, local_u, candidate * reset], -1)
    if mask is not None:
        local, candidate = jnp.where(mask, local, 0), jnp.where(mask, candidate, 0)
        update = jnp.where(mask, update, 1)
    transposed = weight.T

    def step(dhidden, inputs):
        dstate, local, update = inputs
        dhidden = dhidden + dstate
        dproduct = jnp.concatenate([dhidden] * 3, -1) * local
        return dproduct @ transposed + dhidden * update, (dproduct, dhidden)

    dhidden, (dproduct, dstates) = lax.scan(step, dhidden, (dstates, local, update), reverse=True)
    size = hidden.shape[-1]
    dz = jnp.concatenate([dproduct[..., : 2 * size], dstates * candidate], -1)
    dinner_bias = dproduct[..., 2 * size :].sum((0, 1))
    return dz, _outer(before, dproduct), dz.sum((0, 1)), dinner_bias, dhidden, None


_gru.defvjp(_gru_forward, _gru_backward)


def _stock_lstm(x, kernel, recurrent, bias, cell, hidden, mask):
    """Scan over the formula as written, differentiated by jax."""

    def step(state, inputs):
        x, keep = inputs
        i, f, g, o = jnp.split(x @ kernel + state[1] @ recurrent + bias[None, :], 4, -1)
        new_cell = jax.nn.sigmoid(f) * state[0] + jax.nn.sigmoid(i) * jnp.tanh(g)
        new = (new_cell, jax.nn.sigmoid(o) * jnp.tanh(new_cell))
        if keep is not None:
            new = tuple(jnp.where(keep, a, b) for a, b in zip(new, state, strict=True))
        return new, new[1]

    last, states = lax.scan(step, (cell, hidden), (x.swapaxes(0, 1), _steps(mask)))
    return states.swapaxes(0, 1), last


def _stock_gru(x, kernel, recurrent, bias, inner_bias, hidden, mask):
    """Scan over the formula as written, differentiated by jax."""
    size = hidden.shape[-1]

    def step(hidden, inputs):
        x, keep = inputs
        z, product = x @ kernel + bias[None, :], hidden @ recurrent
        r, u = jnp.split(jax.nn.sigmoid(z[:, : 2 * size] + product[:, : 2 * size]), 2, -1)
        n = jnp.tanh(z[:, 2 * size :] + r * (product[:, 2 * size :] + inner_bias[None, :]))
        new = (1 - u) * n + u * hidden
        new = new if keep is None else jnp.where(keep, new, hidden)
        return new, new

    last, states = lax.scan(step, hidden, (x.swapaxes(0, 1), _steps(mask)))
    return states.swapaxes(0, 1), last


class Squash(StrEnum):
    """The activation of a plain recurrent layer."""

    TANH = "tanh"
    RELU = "relu"


def rnn(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    activation: Squash = Squash.TANH,
    initial: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Simple (Elman) recurrence: x [B, L, F] -> hidden states [B, L, H] and the last one [B, H].

    kernel [F, H], recurrent_kernel [H, H] and bias [H]; `initial` and `mask` as in `lstm`.

    h = f(Wx + Uh + b), f tanh or max(0, ·) (Elman 1990; Le et al., arXiv:1504.00941).
    """
    size = recurrent_kernel.shape[0]
    _check(x, kernel, recurrent_kernel, (bias, size), mask, gates=1)
    hidden = initial if initial is not None else jnp.zeros((x.shape[0], size), x.dtype)
    projected, steps = _project(x, kernel, mask), _steps(mask)
    cpu, stock = partial(_rnn, activation), partial(_stock_rnn, activation)
    states, last = _by_platform(cpu, stock, projected, recurrent_kernel, bias, hidden, steps)
    return states.swapaxes(0, 1), last


def _stock_rnn(activation: Squash, z, weight, bias, hidden, mask):
    return _rnn_forward(activation, z, weight, bias, hidden, mask)[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rnn(activation: Squash, z: Array, weight: Array, bias: Array, hidden: Array, mask: Array | None):
    return _rnn_forward(activation, z, weight, bias, hidden, mask)[0]


def _rnn_forward(activation: Squash, z: Array, weight: Array, bias: Array, hidden: Array, mask: Array | None):
    function = jnp.tanh if activation is Squash.TANH else jax.nn.relu

    def step(hidden, inputs):
        z, keep = inputs
        new = function(z + hidden @ weight + bias[None, :])
        new = new if keep is None else jnp.where(keep, new, hidden)
        return new, new

    last, states = lax.scan(step, hidden, (z, mask))
    return (states, last), (states, weight, hidden, mask)


def _rnn_backward(activation: Squash, saved, cotangents):
    states, weight, hidden, mask = saved
    dstates, dhidden = cotangents
    local = 1 - states**2 if activation is Squash.TANH else (states > 0).astype(states.dtype)
    if mask is not None:
        local = jnp.where(mask, local, 0)
    transposed = weight.T

    def step(dhidden, inputs):
        dstate, local, keep = inputs
        dhidden = dhidden + dstate
        dz = dhidden * local
        before = dz @ transposed
        return before if keep is None else before + jnp.where(keep, 0, dhidden), dz

    dhidden, dz = lax.scan(step, dhidden, (dstates, local, mask), reverse=True)
    return dz, _outer(_before(hidden, states), dz), dz.sum((0, 1)), dhidden, None


_rnn.defvjp(_rnn_forward, _rnn_backward)
