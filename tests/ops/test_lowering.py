"""`runtime.ops=stock` uses the lowerings of jax, which compute the same."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.devices import runtime
from dltrain.ops import lowering
from dltrain.ops.conv import conv_general_dilated
from dltrain.ops.embedding import embed
from dltrain.ops.pool import avg_pool, max_pool
from dltrain.ops.recurrent import gru, lstm, rnn

pytestmark = pytest.mark.usefixtures("unoptimised")

RNG = np.random.default_rng(0)
MASK = np.arange(5)[None, :] < np.array([[5], [3], [4]])


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


CASES = {
    "conv": (
        lambda x, k: conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        (normal(2, 6, 6, 3), normal(3, 3, 3, 4)),
    ),
    "max_pool": (lambda x: max_pool(x, (2, 2), (2, 2)), (normal(2, 6, 6, 3),)),
    "avg_pool": (lambda x: avg_pool(x, (2, 2), (2, 2)), (normal(2, 6, 6, 3),)),
    "lstm": (
        lambda *given: lstm(*given, mask=MASK)[0],
        (normal(3, 5, 2), normal(2, 16), normal(4, 16), normal(16)),
    ),
    "gru": (
        lambda *given: gru(*given, mask=MASK)[0],
        (normal(3, 5, 2), normal(2, 12), normal(4, 12), normal(12), normal(4)),
    ),
    "rnn": (lambda *given: rnn(*given)[0], (normal(3, 5, 2), normal(2, 4), normal(4, 4), normal(4))),
    "embed": (lambda table: embed(np.array([[0, 2, 2], [1, 0, 2]]), table), (normal(4, 3),)),
}


@pytest.fixture
def stock():
    lowering.use(stock=True)
    yield
    lowering.use(stock=False)


def results(name):
    """Trace again: otherwise jax would reuse the earlier trace."""
    call, given = CASES[name]

    def run(*given):
        value, back = jax.vjp(lambda *given: call(*given), *given)
        return [value, *back(jnp.cos(value))]

    return str(jax.make_jaxpr(lambda *given: call(*given))(*given)), jax.jit(run)(*given)


@pytest.mark.parametrize("name", CASES)
def test_stock_forms_compute_the_same_value_and_gradient(name, stock):
    text, found = results(name)
    assert "platform_index" not in text and "custom_vjp" not in text
    lowering.use(stock=False)
    text, expected = results(name)
    assert "custom_vjp" in text or "platform_index" in text
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


WORK = ("dot_general", "while", "tanh", "exponential", "multiply", "reduce", "gather", "scatter", "concatenate")


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "embed"])
def test_other_platforms_use_the_stock_form(name, stock):
    def work(platforms):
        """Count the operations of value and gradient for each platform; traced again."""

        def run(*given):
            value, back = jax.vjp(lambda *given: call(*given), *given)
            return value, back(jnp.cos(value))

        traced = jax.jit(run).trace(*given)
        texts = [traced.lower(lowering_platforms=(platform,)).as_text() for platform in platforms]
        return [{kind: len(re.findall(rf"stablehlo\.{kind}\b", text)) for kind in WORK} for text in texts]

    call, given = CASES[name]
    expected = work(["cuda", "tpu", "cpu"])
    lowering.use(stock=False)
    cuda, tpu, cpu = work(["cuda", "tpu", "cpu"])
    assert [cuda, tpu] == expected[:2]
    assert cpu != expected[2]


def test_key_switches_the_forms(stock):
    options = {"platform": "cpu", "threads": None, "deterministic": False, "cache": False}
    before = jax.config.jax_platforms
    for ops, found in (("auto", False), ("stock", True)):
        runtime.start(**options, ops=ops)
        assert lowering.is_stock() is found
    jax.config.update("jax_platforms", before)


def test_key_sets_the_precision_of_products():
    options = {"platform": "cpu", "threads": None, "deterministic": False, "cache": False}
    x = normal(2, 2)
    try:
        for matmul, found in (("default", False), ("highest", True)):
            runtime.start(**options, matmul=matmul)
            assert ("HIGHEST" in str(jax.make_jaxpr(lambda x: x @ x)(x))) is found
    finally:
        runtime.start(**options)
