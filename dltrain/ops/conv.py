"""Convolution with the semantics of `jax.lax.conv_general_dilated`, as a matrix product on a CPU.

Hand-written, since XLA's convolution on a CPU is several times slower than a matrix product of the same size, and
more than ten times slower again inside a loop, where training runs; on GPU and TPU XLA's is used. On a CPU the
windows of the input become rows of a matrix ("patches") that is multiplied by the kernel. The most common kernel,
3x3 with stride 1, uses tiles instead, which need fewer multiplications (`winograd`). The file is over 300 lines:
its cases (strides, dilation, groups, parts) share most functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import product
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dltrain.ops import lowering, winograd

Array = jax.Array

# Time of value and gradient relative to lax's, in a loop on 2 busy cores (medians of 5 runs, batch 8 unless noted):
# 3x3 0.06 (16 channels), 0.03 (64), 0.04 (256) and 0.03 (64 -> 128, stride 2); 7x7 with stride 2 0.11
# (batch 4); 1x1 0.03 (batch 32); 1-D 0.01 (batch 64); 3-D 0.20. No shape was slower. Groups (batch 8, 3x3 unless
# noted): one channel to one 0.03 (32 channels) and 0.004 (256, stride 2), 7x7 0.02, 1-D 0.005; 1 to 2 0.35; 2 to 2
# 0.27; 8 groups of 8 0.37; 2 of 32 0.10; 32 of 4 0.80.

# Patches are kept for the backward pass up to this size. Beyond it they are built for one part of the batch at a
# time, in both passes, and not kept: they take kernel-area times the memory of the layer's input. Two parts took
# 0.9 of the time of the whole and 176 instead of 256 MB (3x3, 64 channels, 32x32, batch 64: patches of 144 MiB).
_MOST_BYTES = 128 * 2**20

# A group with at most this many pairs of an input and an output channel is computed pair by pair, with sums of
# shifted inputs; a batched product of small matrices takes longer. A step with 3x3 kernels on 28x28, batch 8, pairs
# versus products: 32 groups of 1 to 1 1.6 and 5.0 ms, 1 to 2 3.8 and 8.5 ms, 2 to 2 12 and 28 ms, but 16 of 4 to
# 4 44 and 31 ms.
_MOST_PAIRS = 4

# With at least this many input and output channels, a 3x3 kernel with stride 1 uses tiles. Time of tiles relative
# to patches, value and gradient in a loop (2 cores, medians of 7 runs, batch 64 and 32x32 unless noted): 8 -> 8
# channels 0.74, 8 -> 16 0.86, 16 -> 16 0.72, 16 -> 32 0.70 (28x28), 32 -> 32 0.55, 32 -> 64 0.59 (14x14, batch
# 128), 64 -> 64 0.57, 128 -> 128 0.56 (16x16), 256 -> 256 0.48 (8x8), 512 -> 512 0.50 (4x4) and 0.74 (2x2, batch
# 32), 64 -> 64 on 7x7, an odd size, 0.91; but 4 -> 64 1.65 (16x16). They take about half the memory: 73 instead of
# 136 MiB (32 -> 32).
_LEAST_CHANNELS = 8


@dataclass(frozen=True)
class _Window:
    """The geometry of a convolution: everything about it that is not an array."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    inputs: tuple[int, ...]  # spatial sizes of the input, before padding
    groups: int  # groups of channels, convolved separately
    precision: Any

    @property
    def padded(self) -> tuple[int, ...]:
        return tuple(n + low + high for n, (low, high) in zip(self.inputs, self.padding, strict=True))

    @property
    def outputs(self) -> tuple[int, ...]:
        sizes = zip(self.padded, self.size, self.strides, self.dilation, strict=True)
        return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sizes)

    def reach(self, axis: int, tap: int) -> slice:
        """Return the positions along one padded axis that a tap of the kernel reads."""
        first = tap * self.dilation[axis]
        return slice(first, first + (self.outputs[axis] - 1) * self.strides[axis] + 1, self.strides[axis])

    def tiled(self, channels: int, features: int, dtype: Any) -> bool:
        """Tell whether 4x4 tiles are faster than patches; 16-bit values would lose precision in their sums."""
        once = {*self.strides, *self.dilation, self.groups} == {1}
        wide = min(channels, features) >= _LEAST_CHANNELS and min(self.outputs) > 1
        return self.size == (3, 3) and once and wide and jnp.finfo(dtype).bits >= 32


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
    **options: Any,
) -> Array:
    """Convolve like `jax.lax.conv_general_dilated`; to be passed to `nnx.Conv` as `conv_general_dilated`.

    The CPU form covers channels-last arrays (lhs [B, *spatial, C], rhs [*window, C, K]) of a real floating type,
    any strides, padding, kernel dilation and groups. A dilated input and the other options of lax
    (`preferred_element_type`, `out_sharding`, ...) use lax on all platforms.

    The gradient is hand-written: reverse mode of any order, but no forward mode (`jax.jvp`).
    """
    options = {name: value for name, value in options.items() if value is not None}
    layout = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    n = lhs.ndim - 2
    spatial = tuple(range(1, n + 1))
    last = ((0, n + 1, *spatial), (n + 1, n, *range(n)), (0, n + 1, *spatial))
    plain = (
        n > 0
        and not lowering.is_stock()
        and (layout.lhs_spec, layout.rhs_spec, layout.out_spec) == last
        and all(d == 1 for d in lhs_dilation or ())
        and lhs.shape[-1] == rhs.shape[-2] * feature_group_count
        and rhs.shape[-1] % feature_group_count == 0
        and not options
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
    )
    if plain:
        dilation = tuple(rhs_dilation or (1,) * n)
        if isinstance(padding, str):
            reached = [(k - 1) * d + 1 for k, d in zip(rhs.shape[:-2], dilation, strict=True)]
            padding = lax.padtype_to_pads(lhs.shape[1:-1], reached, window_strides, padding)
        pads = tuple((int(low), int(high)) for low, high in padding)
        window = _Window(
            size=rhs.shape[:-2],
            strides=tuple(window_strides),
            padding=pads,
            dilation=dilation,
            inputs=lhs.shape[1:-1],
            groups=feature_group_count,
            precision=precision,
        )
        if lhs.size and rhs.size and min(window.outputs) > 0:
            return _conv(lhs, rhs, window)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        precision=precision,
        **options,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Array, kernel: Array, window: _Window) -> Array:
    value, _, _ = _forms(window, x.shape[-1], kernel.shape[-1], x.dtype)
    return lax.platform_dependent(
        x, kernel, cpu=partial(value, window=window), default=partial(_stock, window=window)
    )


def _conv_forward(x: Array, kernel: Array, window: _Window) -> tuple[Array, tuple[Array, Array]]:
    # The backward pass builds the same patches or tiles again, and XLA's common-subexpression elimination merges
    # the two: so on the CPU they are kept, and other platforms keep only the input.
    return _conv(x, kernel, window), (x, kernel)


def _conv_backward(window: _Window, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    # Two calls, not one: a first layer does not use `dx`, and XLA then drops its whole computation.
    x, kernel = saved
    _, of_input, of_kernel = _forms(window, x.shape[-1], kernel.shape[-1], x.dtype)
    dx = lax.platform_dependent(
        dy,
        kernel,
        cpu=partial(of_input, window=window),
        default=partial(_transposed_dx, _stock, window=window),
    )
    dkernel = lax.platform_dependent(
        x,
        dy,
        cpu=partial(of_kernel, window=window),
        default=partial(_transposed_dkernel, _stock, window=window),
    )
    return dx, dkernel


_conv.defvjp(_conv_forward, _conv_backward)


def _forms(window: _Window, channels: int, features: int, dtype: Any) -> tuple[Callable[..., Array], ...]:
    """Choose the CPU functions for the value, the gradient of the input and the gradient of the kernel."""
    if window.groups > 1:
        return _grouped, partial(_transposed_dx, _grouped), partial(_transposed_dkernel, _grouped)
    if window.tiled(channels, features, dtype):
        return _tiled, _tiled_dx, _tiled_dkernel
    return _product, _input_gradient, _kernel_gradient


def _stock(x: Array, kernel: Array, *, window: _Window) -> Array:
    n = len(window.size)
    numbers = lax.ConvDimensionNumbers(
        (0, n + 1, *range(1, n + 1)), (n + 1, n, *range(n)), (0, n + 1, *range(1, n + 1))
    )
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=numbers,
        feature_group_count=window.groups,
        precision=window.precision,
    )


def _transposed_dx(form: Callable[..., Array], dy: Array, kernel: Array, *, window: _Window) -> Array:
    shape = (dy.shape[0], *window.inputs, kernel.shape[-2] * window.groups)
    transpose = jax.linear_transpose(
        lambda x: form(x, kernel, window=window), jax.ShapeDtypeStruct(shape, dy.dtype)
    )
    return transpose(dy)[0]


def _transposed_dkernel(form: Callable[..., Array], x: Array, dy: Array, *, window: _Window) -> Array:
    shape = (*window.size, x.shape[-1] // window.groups, dy.shape[-1])
    transpose = jax.linear_transpose(
        lambda kernel: form(x, kernel, window=window), jax.ShapeDtypeStruct(shape, dy.dtype)
    )
    return transpose(dy)[0]


def _grouped(x: Array, kernel: Array, *, window: _Window) -> Array:
    dtype, depth, groups = x.dtype, kernel.shape[-2], window.groups
    x = _padded(x, window)
    kernel = kernel.reshape(-1, depth, groups, kernel.shape[-1] // groups)
    taps = [dict(enumerate(tap)) for tap in product(*map(range, window.size))]
    if depth * kernel.shape[-1] <= _MOST_PAIRS:
        wide = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32  # accumulate in float32, like a matrix product
        x, kernel = x.astype(wide), kernel.astype(wide)
        channels = [x[..., c::depth] for c in range(depth)]  # the c-th of each group

        def feature(weights: Array) -> Array:
            each = weights.reshape(-1, *(1,) * (x.ndim - 1), groups)
            parts = zip(product(taps, channels), each, strict=True)
            return reduce(jnp.add, (_tap(x, window, tap) * weight for (tap, x), weight in parts))

        y = jnp.stack([feature(kernel[..., k]) for k in range(kernel.shape[-1])], -1).astype(dtype)
    else:

        def convolve(x: Array) -> Array:
            rows = jnp.stack([_tap(x, window, tap) for tap in taps])
            rows = rows.reshape(*rows.shape[:-1], groups, depth)
            return jnp.einsum("t...gc,tcgk->...gk", rows, kernel, precision=window.precision)

        y = _mapped(convolve, _part_count(x.shape, dtype, window), x)
    return y.reshape(*y.shape[:-2], -1)


def _product(x: Array, kernel: Array, *, window: _Window) -> Array:
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def convolve(x: Array) -> Array:
        return jnp.matmul(_patches(x, window), matrix, precision=window.precision)

    y = _mapped(convolve, _part_count(x.shape, x.dtype, window), x)
    return y.reshape(x.shape[0], *window.outputs, kernel.shape[-1])


def _kernel_gradient(x: Array, dy: Array, *, window: _Window) -> Array:
    def contract(x: Array, dy: Array) -> Array:
        return jnp.matmul(_patches(x, window).T, dy.reshape(-1, dy.shape[-1]), precision=window.precision)

    dkernel = _summed(contract, _part_count(x.shape, x.dtype, window), x, dy)
    return dkernel.reshape(*window.size, x.shape[-1], dy.shape[-1])


def _part_count(shape: tuple[int, ...], dtype: jnp.dtype, window: _Window) -> int:
    """Return the number of equal parts of a batch [B, *spatial, C] that keeps the patches of each part small."""
    batch, channels = shape[0], shape[-1]
    return _divisor(batch, prod((*window.outputs, *window.size, channels, dtype.itemsize)))


def _divisor(batch: int, size: int) -> int:
    """Return the smallest number of equal parts within `_MOST_BYTES` each; an example takes `size` bytes."""
    divisors = (n for n in range(1, batch) if batch % n == 0)
    return next((n for n in divisors if batch // n * size <= _MOST_BYTES), batch)


def _mapped(form: Callable[..., Array], count: int, *batches: Array) -> Array:
    """Compute `form` for `count` parts of the batch in turn, and concatenate the results."""
    if count == 1:
        return form(*batches)
    y = lax.map(lambda parts: form(*parts), _split(batches, count))
    return y.reshape(-1, *y.shape[2:])


def _summed(form: Callable[..., Array], count: int, *batches: Array) -> Array:
    """Compute `form` for `count` parts of the batch in turn, and add the results."""
    if count == 1:
        return form(*batches)
    parts = _split(batches, count)
    shape = jax.eval_shape(form, *(part[0] for part in parts))
    return lax.scan(lambda total, part: (total + form(*part), None), jnp.zeros(shape.shape, shape.dtype), parts)[0]


def _split(batches: Sequence[Array], count: int) -> tuple[Array, ...]:
    return tuple(x.reshape(count, -1, *x.shape[1:]) for x in batches)


def _tiled(x: Array, kernel: Array, *, window: _Window) -> Array:
    def convolve(x: Array) -> Array:
        return winograd.convolve(_even(x, window), kernel, window.precision)

    y = _mapped(convolve, _tiled_part_count(x.shape, kernel.shape[-1], x.dtype, window), x)
    rows, columns = window.outputs
    return y[:, :rows, :columns]


def _tiled_dx(dy: Array, kernel: Array, *, window: _Window) -> Array:
    def gradient(dy: Array) -> Array:
        dx = winograd.input_gradient(dy, kernel, window.precision)
        sizes = zip(dx.shape[1:-1], window.inputs, window.padding, strict=True)
        crop = [(0, 0, 0), *((-low, inputs + low - size, 0) for size, inputs, (low, _) in sizes), (0, 0, 0)]
        return lax.pad(dx, jnp.zeros((), dx.dtype), crop)

    shape = (dy.shape[0], *window.inputs, kernel.shape[-2])
    return _mapped(gradient, _tiled_part_count(shape, dy.shape[-1], dy.dtype, window), dy)


def _tiled_dkernel(x: Array, dy: Array, *, window: _Window) -> Array:
    def gradient(x: Array, dy: Array) -> Array:
        return winograd.kernel_gradient(_even(x, window), dy, window.precision)

    return _summed(gradient, _tiled_part_count(x.shape, dy.shape[-1], x.dtype, window), x, dy)


def _tiled_part_count(shape: tuple[int, ...], features: int, dtype: jnp.dtype, window: _Window) -> int:
    tiles = prod((n + 1) // 2 for n in window.outputs)
    return _divisor(shape[0], 16 * tiles * (shape[-1] + features) * dtype.itemsize)


def _even(x: Array, window: _Window) -> Array:
    """Pad the input so that whole tiles cover it."""
    (a, b), (c, d) = window.padding
    rows, columns = window.outputs
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (a, b + rows % 2, 0), (c, d + columns % 2, 0), (0, 0, 0)])


def _patches(x: Array, window: _Window) -> Array:
    """Make each window of the input a row: [B, *spatial, C] -> [B * outputs, taps * C]."""
    x, axes = _padded(x, window), range(len(window.size))
    if x.shape[-1] == 1:
        # One axis after the other, the last first: with one channel each copy is a single value, and 10 cost less
        # than 25 (5x5 kernel on 28x28, batch 128; patches and both products: 3.9 instead of 6.0 ms). With more
        # channels values are contiguous, and all taps at once is faster (5x5 on 12x12x20: 12.5 instead of 14.5 ms).
        for axis in reversed(axes):
            x = jnp.concatenate([_tap(x, window, {axis: tap}) for tap in range(window.size[axis])], -1)
    else:
        taps = product(*(range(size) for size in window.size))
        x = jnp.concatenate([_tap(x, window, dict(zip(axes, tap, strict=True))) for tap in taps], -1)
    return x.reshape(-1, x.shape[-1])


def _padded(x: Array, window: _Window) -> Array:
    edges = [(0, 0, 0), *((low, high, 0) for low, high in window.padding), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _tap(x: Array, window: _Window, taps: dict[int, int]) -> Array:
    index = [slice(None)] * x.ndim
    for axis, tap in taps.items():
        index[axis + 1] = window.reach(axis, tap)
    return x[tuple(index)]


def _input_gradient(dy: Array, kernel: Array, *, window: _Window) -> Array:
    """Multiply by the transposed kernel, and add the result of each tap where that tap reads the input.

    One product per offset along the last axis, each result added in place; then the other axes. A LeNet step (batch
    128, inside a loop) takes 27.8 ms this way and 30.8 ms with one product and one addition per tap. All taps in
    one fused sum of padded arrays take 1.5 times as long as the latter, a convolution of the padded `dy` 1.7 times.
    """
    count = _part_count((dy.shape[0], kernel.shape[-2]), dy.dtype, window)
    return _mapped(partial(_shifted_sums, kernel=kernel, window=window), count, dy)


def _shifted_sums(dy: Array, kernel: Array, window: _Window) -> Array:
    rows, n = dy.reshape(-1, dy.shape[-1]), len(window.size)
    shape = (*dy.shape[:-1], *window.size[:-1], kernel.shape[-2])

    def column(tap: int) -> Array:
        matrix = kernel[..., tap, :, :].reshape(-1, kernel.shape[-1])
        return jnp.matmul(rows, matrix.T, precision=window.precision).reshape(shape)

    dx = _place([column(tap) for tap in range(window.size[-1])], n - 1, window)
    for axis in reversed(range(n - 1)):
        dx = _place([dx[..., tap, :] for tap in range(window.size[axis])], axis, window)
    crop = [(0, 0, 0), *((-low, -high, 0) for low, high in window.padding), (0, 0, 0)]
    return lax.pad(dx, jnp.zeros((), dx.dtype), crop)


def _place(parts: list[Array], axis: int, window: _Window) -> Array:
    """Sum the parts of all taps along one axis, each at the positions that its tap reads."""
    stride, size = window.strides[axis], window.padded[axis]
    if stride == 1:
        total = jnp.zeros((*parts[0].shape[: axis + 1], size, *parts[0].shape[axis + 2 :]), parts[0].dtype)
        where = [(slice(None),) * (axis + 1) + (window.reach(axis, tap),) for tap in range(len(parts))]
        return reduce(lambda sums, item: sums.at[item[0]].add(item[1]), zip(where, parts, strict=True), total)
    spread = []
    for tap, part in enumerate(parts):
        reach = window.reach(axis, tap)
        config = [(0, 0, 0)] * part.ndim
        config[axis + 1] = (reach.start, size - reach.stop, stride - 1)
        spread.append(lax.pad(part, jnp.zeros((), part.dtype), config))
    return reduce(jnp.add, spread)
