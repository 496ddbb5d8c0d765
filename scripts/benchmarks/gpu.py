"""On a GPU: the rate of matrix products and copies, and the share of it that a large MLP reaches."""

import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import jax_peers
from benchmarks.measure import Peer, Setup, Skip, Table, alternate
from benchmarks.nets import data_words, make_program_of

SIZE, WIDTHS, BATCH = 8192, (4096, 4096, 4096, 4096), 8192
LOOP = 20  # operations in one dispatch
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def run(table: Table, setup: Setup) -> None:
    """Measure if jax finds a GPU."""
    if jax.default_backend() != "gpu":
        raise Skip(f"jax sees no GPU (its devices: {', '.join(map(str, jax.devices()))})")
    measure(table, setup, size=SIZE, widths=WIDTHS, batch=BATCH)


def measure(table: Table, setup: Setup, *, size: int, widths: tuple[int, ...], batch: int) -> None:
    """Measure on the default device."""
    copied = _rates(_copy(size), 2 * 4 * size**2, setup)
    table.add("gpu", f"{size} x {size}", "copy", "GB/s", [value / 1e9 for value in copied])
    for name, dtype in PRECISIONS.items():
        rates = _rates(_product(size, dtype), 2 * size**3, setup)
        peak = statistics.median(rates)
        table.add("gpu", f"{size} x {size}", f"matrix product, {name}", "TFLOP/s", [r / 1e12 for r in rates])
        try:
            program = _large(setup, widths, batch, name)
        except Skip as reason:
            table.skip(f"gpu, training in {name}", reason)
            continue
        steps = alternate([jax_peers.dltrain_peer(program)], setup)["dltrain"]
        title = f"MLP {'-'.join(map(str, widths))}"
        work = _flops(widths, batch)
        table.add("gpu", title, f"dltrain, {name}", "TFLOP/s", [value * work / 1e12 for value in steps])
        table.add("ratio", title, f"of the matrix rate, {name}", "x", [value * work / peak for value in steps])


def _large(setup: Setup, widths: tuple[int, ...], batch: int, precision: str) -> Any:
    from dltrain.errors import ConfigError

    sizes = f"model.widths=[{','.join(map(str, widths))}]"
    words = (*data_words(setup), "model=mlp", sizes, f"batch_size={batch}", "steps=1000000")
    chosen = () if precision == "float32" else (f"runtime.precision={precision}",)
    try:
        return make_program_of(*words, *chosen)
    except ConfigError as error:
        raise Skip(error) from error


def _flops(widths: tuple[int, ...], batch: int) -> int:
    """Count the products of a step: one forward, two backward, except for the gradient of the first input."""
    sizes = (784, *widths, 10)
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * batch * (3 * sum(products) - products[0])


def _product(size: int, dtype: Any) -> Callable[[], Any]:
    left = jax.random.normal(jax.random.key(0), (size, size), dtype)
    right = jax.random.normal(jax.random.key(1), (size, size), dtype) * jnp.asarray(size**-0.5, dtype)
    loop = jax.jit(lambda x, w: jax.lax.fori_loop(0, LOOP, lambda _, x: x @ w, x))
    return lambda: loop(left, right)


def _copy(size: int) -> Callable[[], Any]:
    """Read and write an array; adding the counter prevents constant folding of the loop."""
    source = jax.random.normal(jax.random.key(0), (size, size))
    loop = jax.jit(lambda x: jax.lax.fori_loop(0, LOOP, lambda i, x: x + i.astype(x.dtype), x))
    return lambda: loop(source)


def _rates(call: Callable[[], Any], work: int, setup: Setup) -> list[float]:
    """Return the work per second of each round."""

    def run(n: int) -> int:
        for _ in range(n):
            result = call()
        jax.block_until_ready(result)
        return n

    return [value * LOOP * work for value in alternate([Peer("loop", run)], setup)["loop"]]
