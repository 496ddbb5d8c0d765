"""Instructions read from a trace, compared with programs compiled here and packed by hand."""

import jax
import jax.numpy as jnp
import pytest

from dltrain.profiling.hlo import METADATA, programs


def packed(number: int, content: bytes) -> bytes:
    """Encode bytes as a protocol buffer field."""
    size, sized = len(content), b""
    while size > 127:
        sized, size = sized + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + sized + bytes([size]) + content


def instructions(function, *shapes):
    """Compile a function and put it into a trace in the format of the profiler."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    (module,) = jax.jit(function).lower(*arguments).compile().runtime_executable().hlo_modules()
    hlo = packed(6, packed(1, module.as_serialized_hlo_module_proto()))
    described = packed(2, b"jit_f(3)") + packed(5, hlo)
    plane = packed(2, METADATA.encode()) + packed(4, b"\x08\x01" + packed(2, described))
    other = packed(2, b"/host:CPU") + packed(4, b"\x08\x01" + packed(2, described))
    return programs(packed(1, other) + packed(1, plane))["jit_f(3)"]


@pytest.mark.parametrize(
    ("function", "shapes", "kind", "shape"),
    [
        (jnp.dot, [(300, 200), (200, 100)], "matrix product", "f32[300,100]"),
        (lambda x: jnp.tanh(x) * 2 + x, [(8, 5)], "elementwise", "f32[8,5]"),
        (lambda x: jnp.exp(x).sum(0), [(8, 5)], "reduction", "f32[5]"),
        (lambda x: x[jnp.argmax(x, 1)], [(8, 8)], "gather and scatter", "f32[8,8]"),
        (lambda x: jnp.sort(x), [(64,)], "sort", "f32[64]"),
        (lambda x: x.T.copy(), [(8, 5)], "copy and transpose", "f32[8,5]"),
        (lambda x: jax.random.bits(jax.random.key(x.astype(int)), (900,)), [()], "random", "900]"),
        (lambda x, k: jax.lax.conv(x, k, (1, 1), "SAME"), [(2, 3, 8, 8), (4, 3, 3, 3)], "convolution", "f32[2,"),
    ],
)
def test_kind_of_an_instruction(function, shapes, kind, shape):
    assert shape in " ".join(i.shape for i in instructions(function, *shapes).values() if i.kind == kind)


def test_loops_are_a_kind_apart_from_their_body():
    def function(x):
        return jax.lax.while_loop(lambda x: x.sum() < 100, lambda x: jnp.dot(x, x), x)

    kinds = {name.split(".")[0]: i.kind for name, i in instructions(function, (200, 200)).items()}
    assert kinds["while"] == "loop and conditional"
    assert "matrix product" in kinds.values()


def test_source_is_the_line_outside_libraries_and_direction_is_known():
    from flax import nnx

    layer = nnx.Linear(200, 100, rngs=nnx.Rngs(0))

    def function(x):
        return jnp.square(layer(x)).sum()

    found = [i for i in instructions(jax.grad(function), (300, 200)).values() if i.kind == "matrix product"]
    line = function.__code__.co_firstlineno + 1
    assert {i.source for i in found} == {f"profiling/test_hlo.py:{line}"}
    assert {i.direction for i in found} == {"forward", "backward"}
