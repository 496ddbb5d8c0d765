"""Values and gradients of the convolution equal those of lax, and the lowering depends on the platform."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx
from hypothesis import assume
from hypothesis import strategies as st
from jax import lax

from dltrain.ops.conv import _LEAST_CHANNELS, conv_general_dilated

NUMBERS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}
DTYPES = ("float32", "float64")


pytestmark = pytest.mark.usefixtures("strict_dtypes")


def arrays(*shapes, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [jax.device_put(rng.normal(size=shape).astype(dtype)) for shape in shapes]


def values_and_gradients(cases, data, quick):
    """Return (y, dx, dkernel) of dltrain and of lax for each case, from one program, which compiles faster.

    Lax computes in float64 from the same numbers: in float32 XLA (of jax 0.10.2, on a CPU) is wrong about the
    gradient by a kernel of 1 where the padding is negative (see below).
    """

    def run(convolution, case, x, kernel):
        _, _, strides, padding, dilation, groups = case
        given = {"rhs_dilation": dilation, "dimension_numbers": NUMBERS[len(strides)]}
        given["feature_group_count"] = groups
        y, pull = jax.vjp(lambda x, kernel: convolution(x, kernel, strides, padding, **given), x, kernel)
        return y, *pull(jnp.cos(jnp.arange(y.size, dtype="float32")).reshape(y.shape).astype(y.dtype))

    def both(data):
        exact = jax.tree.map(jnp.float64, data)
        each = zip(cases, data, exact, strict=True)
        return [(run(conv_general_dilated, c, *x), run(lax.conv_general_dilated, c, *y)) for c, x, y in each]

    return jax.tree.map(np.asarray, jax.jit(both, compiler_options=quick)(data))


def check_cases(cases, dtype, agree, quick):
    with jax.enable_x64(True):
        data = [arrays(*case[:2], dtype=dtype) for case in cases]
        found = values_and_gradients(cases, data, quick)
    for case, (ours, theirs) in zip(cases, found, strict=True):
        for name, a, b in zip(("value", "dx", "dkernel"), ours, theirs, strict=True):
            assert str(a.dtype) == dtype, case
            agree(a, b, f"{name} {case}")


@st.composite
def cases(draw):
    n = draw(st.sampled_from((1, 2, 2, 2)))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    tiles = n == 2 and draw(st.sampled_from((False, False, False, True)))
    size, window, strides, dilation = each(1, 9), each(1, 4), each(1, 3), each(1, 2)
    if tiles:
        window, strides, dilation = (3, 3), (1, 1), (1, 1)
    pairs = tuple((draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in range(n))
    padding = draw(st.sampled_from(("SAME", "VALID", "SAME_LOWER", pairs)))
    reached = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "VALID":
        assume(all(s >= r for s, r in zip(size, reached, strict=True)))
    if padding is pairs:
        assume(all(s + min(p, 0) + min(q, 0) > 0 for s, (p, q) in zip(size, pairs, strict=True)))
        assume(all(s + p + q >= r for s, (p, q), r in zip(size, pairs, reached, strict=True)))
    least = _LEAST_CHANNELS if tiles else 1
    channels, features = draw(st.integers(least, least + 2)), draw(st.integers(least, least + 2))
    groups = 1 if tiles else draw(st.sampled_from((1, 1, 2, 3)))
    shape = (draw(st.integers(1, 3)), *size, channels * groups)
    return shape, (*window, channels, features * groups), strides, padding, dilation, groups


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_equal_lax(dtype, drawn, agree, quick):
    check_cases(drawn(cases(), 12 if dtype == "float64" else 4), dtype, agree, quick)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_equal_lax_in_hundreds_of_shapes(dtype, drawn, agree, quick):
    found = drawn(cases(), 400)
    for first in range(0, len(found), 30):
        check_cases(found[first : first + 30], dtype, agree, quick)


def test_selected_cases_equal_lax(agree, quick):
    check_cases(
        [
            ((4, 14, 14, 1), (5, 5, 1, 6), (1, 1), "VALID", None, 1),
            ((2, 8, 8, 3), (3, 3, 3, 4), (1, 1), "SAME", None, 1),
            ((2, 9, 7, 2), (3, 2, 2, 4), (2, 3), ((2, 1), (0, 3)), (2, 1), 1),
            ((2, 5, 4, 6, 2), (2, 3, 2, 2, 3), (1, 2, 1), "SAME", (1, 1, 2), 1),
            ((2, 8, 7, 6), (3, 3, 1, 12), (2, 1), "SAME", None, 6),
            ((2, 8, 7, 6), (3, 3, 2, 6), (1, 1), ((2, 1), (0, 3)), (2, 1), 3),
            ((2, 8, 7, 6), (3, 2, 3, 8), (1, 2), "VALID", None, 2),
            ((2, 7, 6, 9), (3, 3, 9, 8), (1, 1), ((3, -1), (0, 2)), None, 1),
        ],
        "float64",
        agree,
        quick,
    )


def test_kernel_of_size_1_with_negative_padding():
    """In float32 XLA's own gradient by the kernel is wrong here (jax 0.10.2, CPU)."""
    x, dy = (np.asarray(array) for array in arrays((1, 8, 3), (1, 8, 1)))
    kernel = jnp.zeros((1, 3, 1), jnp.float32)
    padded = np.concatenate([x[:, 1:], np.zeros_like(x[:, :1])], 1)

    def convolve(kernel):
        return conv_general_dilated(x, kernel, (1,), ((-1, 1),), dimension_numbers=NUMBERS[1])

    (dkernel,) = jax.jit(lambda kernel: jax.vjp(convolve, kernel)[1](dy))(kernel)
    np.testing.assert_allclose(dkernel[0], np.einsum("bsc,bsk->ck", padded, dy), rtol=1e-5)


def test_nnx_layer_gives_the_same_result():
    (x,) = arrays((2, 10, 3))
    kwargs = dict(strides=2, kernel_dilation=2, padding="SAME")
    ours = nnx.Conv(3, 5, (3,), **kwargs, conv_general_dilated=conv_general_dilated, rngs=nnx.Rngs(0))
    stock = nnx.Conv(3, 5, (3,), **kwargs, rngs=nnx.Rngs(0))
    found, expected = nnx.jit(lambda ours, stock: (ours(x), stock(x)))(ours, stock)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel_shape", "options"),
    [
        ((3, 3, 4, 8), dict(padding=((1, 1), (0, 2)), lhs_dilation=(2, 1), dimension_numbers=NUMBERS[2])),
        ((3, 3, 4, 8), dict(preferred_element_type=jnp.float32, dimension_numbers=NUMBERS[2])),
        ((8, 6, 2, 2), dict()),
    ],
)
def test_unsupported_options_use_lax(kernel_shape, options):
    x, kernel = arrays((2, 6, 6, 4), kernel_shape)
    options = dict(window_strides=(1, 1), padding="SAME") | options
    ours = jax.make_jaxpr(lambda x, k: conv_general_dilated(x, k, **options))(x, kernel)
    theirs = jax.make_jaxpr(lambda x, k: lax.conv_general_dilated(x, k, **options))(x, kernel)
    assert str(ours) == str(theirs)


def loss(x, kernel):
    groups = x.shape[-1] // kernel.shape[-2]
    y = conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS[2], feature_group_count=groups)
    return jnp.sum(y**2)


@pytest.mark.parametrize(("channels", "depth"), [(3, 3), (3, 1), (8, 8)])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_use_the_stock_convolution(platform, channels, depth):
    x, kernel = arrays((2, 6, 6, channels), (3, 3, depth, 9))
    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(x, kernel)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == 3  # forward, dx, dkernel
    assert "stablehlo.concatenate" not in text
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()


def compiled_text(argnums, *shapes):
    return jax.jit(jax.grad(loss, argnums=argnums)).lower(*arrays(*shapes)).compile().as_text()


def products(text):
    return len(re.findall(r"= \S+ dot\(", text))


def test_an_unused_input_gradient_costs_nothing():
    shapes = (4, 8, 8, 6), (3, 3, 6, 5)
    assert products(compiled_text(1, *shapes)) == 2  # forward and kernel gradient
    assert products(compiled_text((0, 1), *shapes)) == 2 + 3  # and one for each column of the kernel


@pytest.mark.parametrize(("argnums", "count"), [(1, 2 * 16), ((0, 1), 3 * 16)])
def test_wide_3x3_kernels_use_tiles(argnums, count, quick):
    traced = jax.jit(jax.grad(loss, argnums=argnums)).lower(*arrays((4, 7, 8, 8), (3, 3, 8, 9)))
    assert products(traced.compile(compiler_options=quick).as_text()) == count


@pytest.mark.parametrize(
    ("shapes", "dtype"),
    [
        (((4, 8, 8, 7), (3, 3, 7, 8)), "float32"),  # few channels
        (((4, 8, 8, 8), (3, 3, 8, 7)), "float32"),  # few features
        (((4, 8, 1, 8), (3, 3, 8, 8)), "float32"),  # half of each tile would lie outside
        (((4, 8, 8, 8), (3, 3, 8, 8)), "bfloat16"),  # the sums of a tile would lose digits
        (((4, 8, 8, 8), (2, 3, 8, 8)), "float32"),
    ],
)
def test_other_kernels_use_patches(shapes, dtype):
    text = jax.jit(loss).lower(*arrays(*shapes, dtype=dtype)).compile().as_text()
    assert products(text) == 1


def test_patches_are_built_once_for_forward_and_backward():
    text = compiled_text(1, (4, 8, 8, 6), (3, 3, 6, 5))
    assert len(re.findall(r"= \S+ concatenate\(", text)) == 1


@few(
    "shapes",
    [((6, 16, 16, 6), (3, 3, 3, 4)), ((6, 16, 16, 4), (3, 3, 4, 2)), ((6, 16, 16, 16), (3, 3, 16, 16))],
    0,
)
def test_large_patches_are_built_in_parts_and_not_kept(shapes, monkeypatch):
    x, kernel = arrays(*shapes)
    patches = x.size * 9 * 4
    whole = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, kernel).compile()
    monkeypatch.setattr("dltrain.ops.conv._MOST_BYTES", patches // 3)
    jax.clear_caches()
    pieces = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, kernel).compile()
    saved = whole.memory_analysis().temp_size_in_bytes - pieces.memory_analysis().temp_size_in_bytes
    assert saved > patches // 3
    for a, b in zip(pieces(x, kernel), whole(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))
    jax.clear_caches()


@pytest.mark.parametrize("channels", [2, _LEAST_CHANNELS])
def test_second_derivative_equals_lax(channels, quick):
    x, kernel = arrays((2, 5, 5, channels), (3, 3, channels, channels))

    def penalty(convolution):
        def inner(x, kernel):
            return jnp.sum(jnp.tanh(convolution(x, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS[2])))

        twice = jax.grad(lambda kernel: jnp.sum(jax.grad(inner)(x, kernel) ** 2))
        return jax.jit(twice, compiler_options=quick)(kernel)

    ours, theirs = penalty(conv_general_dilated), penalty(lax.conv_general_dilated)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * float(jnp.abs(theirs).max()))


def test_groups_of_bfloat16_are_summed_in_float32():
    x, kernel = arrays((4, 12, 12, 4), (3, 3, 1, 4), dtype="bfloat16")
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    for ours, exact in zip(gradient(x, kernel), gradient(*map(jnp.float32, (x, kernel))), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(
            ours.astype(jnp.float32), exact, rtol=0, atol=2**-7 * float(jnp.abs(exact).max())
        )


@pytest.mark.parametrize("channels", [2, _LEAST_CHANNELS])
def test_vmap_over_kernels_gives_each_lane_its_own_result(channels, quick):
    x, kernels = arrays((2, 5, 5, channels), (3, 3, 3, channels, 2 * channels))
    gradient = jax.grad(loss, argnums=1)
    gradients = jax.jit(jax.vmap(gradient, in_axes=(None, 0)), compiler_options=quick)
    alone = jax.jit(gradient, compiler_options=quick)
    for kernel, found in zip(kernels, gradients(x, kernels), strict=True):
        np.testing.assert_allclose(found, alone(x, kernel), rtol=1e-4, atol=1e-4)
