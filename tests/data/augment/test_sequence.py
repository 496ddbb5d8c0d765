"""Time shifts and masks of sequences keep the steps beyond their length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.data import augment
from dltrain.data.augment.inputs import Border

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEY = jax.random.key(1)


def batch_of(inputs, **more):
    return {"inputs": jnp.asarray(inputs), "mask": jnp.ones(len(inputs), bool), **more}


SERIES = np.random.default_rng(1).normal(size=(200, 12, 2)).astype(np.float32)
LENGTHS = np.random.default_rng(2).integers(1, 13, 200).astype(np.int32)


@pytest.mark.parametrize(("border", "mode"), [("edge", "edge"), ("reflect", "reflect"), ("constant", "constant")])
def test_time_shift_moves_valid_steps_only(border, mode):
    after = augment.time_shift(batch_of(SERIES, length=jnp.asarray(LENGTHS)), KEY, steps=3, border=Border(border))
    moves = set()
    for x, found, n in zip(SERIES, np.asarray(after["inputs"]), LENGTHS, strict=True):
        np.testing.assert_array_equal(found[n:], x[n:])
        padded = np.pad(x[:n], ((3, 3), (0, 0)), mode=mode)
        fits = [k for k in range(7) if np.array_equal(padded[k : k + n], found[:n])]
        assert fits
        moves |= set(fits) if n == 12 else set()
    assert moves == set(range(7))


@pytest.mark.parametrize("span", [1, 4])
def test_masking_covers_the_share_in_spans_of_valid_steps(span):
    after = augment.masking(batch_of(SERIES), KEY, share=0.3, span=span, fill=7.0)["inputs"]
    covered = (np.asarray(after) == 7).all(-1)
    np.testing.assert_array_equal(np.asarray(after)[~covered], SERIES[~covered])
    assert covered.mean() == pytest.approx(0.3, abs=0.04)
    np.testing.assert_allclose(covered.mean(0), 0.3, atol=0.12)  # the ends as often as the middle
    inner = [len(run) for row in covered for run in "".join("x" if c else " " for c in row[1:-1]).split(" ") if run]
    assert min(inner[1:-1]) >= 1 and max(inner) >= span
    short = augment.masking(batch_of(SERIES, length=jnp.asarray(LENGTHS)), KEY, share=1.0, fill=7.0)["inputs"]
    np.testing.assert_array_equal((np.asarray(short) == 7).all(-1), np.arange(12)[None] < LENGTHS[:, None])
