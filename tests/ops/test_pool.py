"""Pooling equals that of flax and lax, including ties and edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import assume
from hypothesis import strategies as st

from dltrain.ops.pool import avg_pool, max_pool

DTYPES = ("float32", "float64")


pytestmark = pytest.mark.usefixtures("strict_dtypes")


def values_and_gradients(cases, data, quick):
    """Return (y, dx) of the pools of dltrain and of flax for each case, from one program, which compiles faster."""

    def run(pool, x, *args):
        y, pull = jax.vjp(lambda x: pool(x, *args), x)
        return y, pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))[0]

    def all_four(case, x):
        _, *args, count = case
        return (
            [run(pool, x, *args) for pool in (max_pool, nnx.max_pool)],
            [run(pool, x, *args, count) for pool in (avg_pool, nnx.avg_pool)],
        )

    with jax.numpy_dtype_promotion("standard"):  # flax divides by an integer
        return jax.jit(
            lambda data: [all_four(case, x) for case, x in zip(cases, data, strict=True)], compiler_options=quick
        )(data)


@st.composite
def cases(draw):
    n = draw(st.sampled_from((1, 2, 2)))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    size, window = each(1, 9), each(1, 4)
    strides = draw(st.sampled_from((window, window, window, each(1, 3), None)))
    pairs = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window)
    padding = draw(st.sampled_from(("VALID", "SAME", pairs)))
    if padding != "SAME":
        total = (0,) * n if padding == "VALID" else [low + high for low, high in pairs]
        assume(all(s + p >= k for s, p, k in zip(size, total, window, strict=True)))
    shape = (draw(st.integers(1, 3)), *size, draw(st.integers(1, 3)))
    return shape, window, strides, padding, draw(st.booleans())


def check_cases(cases, dtype, agree, quick):
    with jax.enable_x64(dtype == "float64"):
        # Few distinct numbers, so that most windows hold a tie: the gradient must then take the first.
        data = [np.random.default_rng(0).integers(-2, 3, case[0]).astype(dtype) for case in cases]
        found = values_and_gradients(cases, data, quick)
    for case, (greatest, averages) in zip(cases, found, strict=True):
        for a, b in zip(*greatest, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=str(case))
        for a, b in zip(*averages, strict=True):
            assert str(a.dtype) == str(b.dtype) == dtype, case
            agree(a, b, str(case))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pools_agree_with_flax(dtype, drawn, agree, quick):
    check_cases(drawn(cases(), 12 if dtype == "float64" else 4), dtype, agree, quick)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pools_agree_with_flax_in_hundreds_of_shapes(dtype, drawn, agree, quick):
    found = drawn(cases(), 400)
    for first in range(0, len(found), 30):
        check_cases(found[first : first + 30], dtype, agree, quick)


def test_gradient_of_a_tie_goes_to_the_first_maximum_in_row_major_order():
    window = jnp.array([[[0.0, 7.0], [7.0, 7.0]], [[3.0, 3.0], [3.0, 3.0]]])[..., None]
    gradient = jax.jit(jax.grad(lambda x: max_pool(x, (2, 2), (2, 2)).sum()))(window)
    np.testing.assert_array_equal(gradient[..., 0], [[[0, 1], [0, 0]], [[1, 0], [0, 0]]])


@pytest.mark.parametrize("strides", [(3, 2), (2, 1), (1, 3)], ids=["apart", "overlapping", "with gaps"])
def test_ties_equal_torch(strides):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).integers(0, 2, (2, 9, 6, 3)).astype("float32")
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    torch.nn.functional.max_pool2d(theirs, (3, 2), strides).pow(2).sum().backward()
    ours = jax.jit(jax.grad(lambda x: (max_pool(x, (3, 2), strides) ** 2).sum()))(x)
    np.testing.assert_array_equal(ours, theirs.grad.numpy().transpose(0, 2, 3, 1))


def test_padding_is_never_the_maximum():
    x = -jnp.ones((1, 3, 3, 1))
    np.testing.assert_array_equal(max_pool(x, (2, 2), (2, 2), "SAME"), -jnp.ones((1, 2, 2, 1)))


def test_padding_gets_no_gradient_where_windows_overlap():
    gradient = jax.jit(jax.grad(lambda x: max_pool(x, (3, 3), (2, 2), "SAME").sum()))(jnp.zeros((1, 5, 5, 1)))
    assert gradient.sum() == 9  # one for each window; at an edge the first place that meets it is padding


def test_nan_is_kept():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 3, 2, 0].set(jnp.nan)
    assert np.isnan(max_pool(x, (2, 2), (2, 2))).tolist() == [[[[False], [False]], [[False], [True]]]]


def test_integers_are_pooled():
    x = jnp.arange(16, dtype=jnp.uint8).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(max_pool(x, (2, 2), (2, 2)).ravel(), [5, 7, 13, 15])


def test_window_of_the_wrong_rank_is_an_error():
    with pytest.raises(ValueError, match="need 2 entries each"):
        max_pool(jnp.zeros((1, 4, 4, 1)), (2,))


def test_nan_is_kept_where_windows_overlap():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(jnp.nan)
    expected = [[False, True, True], [False, True, True], [False, False, False]]
    assert np.isnan(max_pool(x, (2, 2)))[0, :, :, 0].tolist() == expected


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
def test_window_larger_than_its_input_gives_empty_output(pool):
    x = jnp.ones((1, 3, 8, 2))
    assert pool(x, (5, 2), (2, 1)).shape == (1, 0, 7, 2)
    assert not np.any(jax.jit(jax.grad(lambda x: pool(x, (5, 2), (2, 1)).sum()))(x))


@pytest.mark.parametrize("strides", [(2, 2), (1, 1)], ids=["apart", "overlapping"])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_use_the_stock_pooling(platform, strides):
    x = jnp.zeros((1, 4, 4, 1))
    traced = jax.jit(jax.grad(lambda x: max_pool(x, (2, 2), strides).sum() ** 2)).trace(x)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "select_and_scatter" in text and "reduce_window" in text
    text = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "select_and_scatter" not in text and "reduce_window" not in text


def test_overlapping_averages_sum_slices_on_a_cpu():
    traced = jax.jit(jax.grad(lambda x: avg_pool(x, (3, 3), (2, 2)).sum() ** 2)).trace(jnp.zeros((1, 7, 7, 1)))
    assert "reduce_window" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "reduce_window" in traced.lower(lowering_platforms=("cuda",)).as_text()
