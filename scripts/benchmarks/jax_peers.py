"""Training in jax: the chunk of dltrain, a bare loop over the first parts of the same step, and plain Flax NNX."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.measure import Peer
from benchmarks.nets import RATE, Net, arrays

# Steps per dispatch of the bare loop and of dltrain. Each dispatch allocates its scratch memory again, for the
# convnet 97 MB and 24 ms of page faults (half a step, 2 cores), so both must use the same number.
LENGTH = 20
STAGES = ("data", "forward", "backward", "update")


def dltrain_peer(program: Any) -> Peer:
    """Train like dltrain: feed from the host, chunk after chunk, reading the logs of the previous one."""
    state, step, count = program.start(), 0, min(program.capacity, LENGTH)

    def run(n: int) -> int:
        nonlocal state, step
        done, logs = 0, None
        while done < n:
            state, new = program.chunk(state, program.data, program.feed_chunk(step, count), np.int32(count))
            if logs is not None:
                jax.device_get(logs)
            logs, done, step = new, done + count, step + count
        jax.block_until_ready(state)
        jax.device_get(logs)
        return done

    return Peer("dltrain", run)


def first_losses(program: Any, steps: int) -> np.ndarray:
    """Return the losses of the first steps of a new run."""
    feed = program.feed_chunk(0, steps)
    _, logs = program.chunk(program.start(), program.data, feed, np.int32(steps))
    return np.asarray(logs["loss"])[:steps]


def bare(program: Any, stage: str = "update") -> Peer:
    """Loop over the same network, data and optimizer without logs and checks, up to and including this part."""
    body = _body(program, STAGES.index(stage))

    def loop(carry: Any, data: Any, feed: Any) -> Any:
        return jax.lax.scan(lambda carry, rows: (body(carry, data, rows), None), carry, feed)[0]

    compiled = jax.jit(loop, donate_argnums=0)
    data, state, feed = program.data, program.start(), program.parts.pipeline.indices(0, LENGTH)
    fixed = (state.params, state.model_state, optax.adam(RATE).init(state.params))
    shapes = jax.eval_shape(lambda: body((*fixed, None), data, feed[0])[-1])
    carry = (*fixed, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))
    position = 0

    def run(n: int) -> int:
        nonlocal carry, position
        done = 0
        while done < n:
            rows = program.parts.pipeline.indices(position, len(feed))
            carry = compiled(carry, data, rows)
            done, position = done + len(feed), position + len(feed)
        jax.block_until_ready(carry)
        return done

    return Peer("bare lax.scan" if stage == "update" else stage, run)


def step_body(program: Any) -> Callable[[Any, Any, Any], Any]:
    """Return a whole hand-written step: `((params, model_state, opt_state, _), data, rows)` -> new ones, loss."""
    return _body(program, STAGES.index("update"))


def _body(program: Any, last: int) -> Callable[[Any, Any, Any], Any]:
    """Return a hand-written step; the results of the last part are carried, so that XLA cannot drop them."""
    graph, scaling = program.graphs.train, program.parts.preprocess.scaling
    optimizer = optax.adam(RATE)

    def body(carry: Any, data: Any, rows: Any) -> Any:
        params, model_state, opt_state, _ = carry
        index = jnp.maximum(rows, 0)
        inputs = scaling.forward(jnp.take(data["inputs"], index, axis=0, mode="clip"))
        targets, mask = jnp.take(data["targets"], index, mode="clip"), rows >= 0
        if last == 0:
            return params, model_state, opt_state, (inputs, targets)

        def loss(params: Any) -> Any:
            model = nnx.merge(graph, params, model_state, copy=True)
            logits = model(inputs, mask=mask, rngs=nnx.Rngs(dropout=jax.random.key(0)))
            values = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
            return jnp.where(mask, values, 0).sum() / mask.sum()

        if last == 1:
            return params, model_state, opt_state, loss(params)
        value, grads = jax.value_and_grad(loss)(params)
        if last == 2:
            return params, model_state, opt_state, (value, grads)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), model_state, opt_state, value

    return body


def stock(net: Net, program: Any, batch: int) -> Peer:
    """Train a network of flax layers with `nnx.jit` and `nnx.Optimizer`, one call per step, as in its guides."""
    x, y = arrays(program)
    model = _Stock(net, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)
    rng = np.random.default_rng(0)

    @nnx.jit
    def step(model: nnx.Module, optimizer: nnx.Optimizer, x: Any, y: Any) -> Any:
        def loss(model: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    def run(n: int) -> int:
        for _ in range(n):
            rows = rng.integers(0, len(x), batch)
            value = step(model, optimizer, x[rows], y[rows])
        jax.block_until_ready((value, nnx.state(model)))
        return n

    return Peer("Flax NNX (nnx.jit)", run)


class _Stock(nnx.Module):
    """A network of flax layers."""

    def __init__(self, net: Net, rngs: nnx.Rngs) -> None:
        self.net, depth, side = net, 1, 28
        self.convolutions = nnx.List([])
        for channels in net.channels:
            border = "SAME" if net.same else "VALID"
            self.convolutions.append(nnx.Conv(depth, channels, (net.kernel,) * 2, padding=border, rngs=rngs))
            depth, side = channels, (side if net.same else side - net.kernel + 1) // 2
        self.cell = nnx.RNN(nnx.OptimizedLSTMCell(28, net.hidden, rngs=rngs)) if net.hidden else None
        sizes = (net.hidden or depth * side * side, *net.dense, 10)
        self.dense = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])

    def __call__(self, x: Any) -> Any:
        for convolution in self.convolutions:
            x = nnx.max_pool(nnx.relu(convolution(x)), (2, 2), (2, 2))
        x = self.cell(x[..., 0])[:, -1] if self.cell is not None else x.reshape(len(x), -1)
        for layer in self.dense[:-1]:
            x = nnx.relu(layer(x))
        return self.dense[-1](x)
