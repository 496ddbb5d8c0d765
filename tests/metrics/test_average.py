"""Averages are exact, and respect masks and weights."""

import jax
import jax.numpy as jnp
import pytest

from dltrain import metrics

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_average_is_exact_where_float32_rounds():
    mean = metrics.Average(lambda z, batch: z)
    add = jax.jit(mean.add)
    batch = {"mask": jnp.ones(4, bool)}
    state = add(mean.zero(), jnp.full(4, 1e8), batch)
    for _ in range(300):
        state = add(state, jnp.full(4, 1.0), batch)
    assert mean.value(state) == pytest.approx((4e8 + 1200) / 1204, rel=1e-12)


def test_average_counts_positions_and_weights():
    values = jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    batch = {"mask": jnp.asarray([True, True, False]), "loss_mask": jnp.asarray([[1, 0], [1, 1], [1, 1]])}
    plain, weighted = (metrics.Average(lambda z, b: z, weighted=w) for w in (False, True))
    assert plain.value(plain.add(plain.zero(), values, batch)) == pytest.approx(8 / 3)
    batch["weights"] = jnp.asarray([1.0, 3.0, 9.0])
    assert weighted.value(weighted.add(weighted.zero(), values, batch)) == pytest.approx((1 + 9 + 12) / 7)
