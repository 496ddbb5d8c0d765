"""The product of a dense layer on several devices has the values and gradients of lax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dltrain.ops import dense

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def derivatives(product, shape):
    """Return y, dx, dkernel, and the gradient by x of a norm of dkernel, in float64."""
    rng = np.random.default_rng(0)
    numbers = (((len(shape) - 1,), (0,)), ((), ()))

    def value(x, kernel):
        return jnp.square(product(x, kernel, numbers, precision=None)).sum()

    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(rng.normal(size=size)) for size in (shape, (shape[-1], 3)))
        again = jax.grad(lambda x: jnp.square(jax.grad(value, 1)(x, kernel)).sum())(x)
        return product(x, kernel, numbers), *jax.grad(value, (0, 1))(x, kernel), again


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (4,)])
def test_values_and_gradients_are_those_of_lax(shape):
    found, expected = derivatives(dense.dot_general, shape), derivatives(lax.dot_general, shape)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_it_takes_the_last_axis_only():
    with pytest.raises(ValueError, match="the last axis"):
        dense.dot_general(jnp.ones((3, 3)), jnp.ones((3, 3)), (((0,), (0,)), ((), ())))


def test_only_dense_layers_of_flax_that_are_divided_by_examples_use_it():
    def own(*arguments, **options):
        return lax.dot_general(*arguments, **options)

    def chosen(**sizes):
        layers = [nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.Linear(2, 2, dot_general=own, rngs=nnx.Rngs(0))]
        with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh(tuple(sizes.values()), tuple(sizes))):
            dense.use_in(nnx.List(layers))
        return [layer.dot_general for layer in layers]

    assert chosen(data=2, fsdp=2) == [dense.dot_general, own]
    assert chosen(data=2, fsdp=1, model=2) == [lax.dot_general, own]
    dense.use_in(alone := nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
    assert alone.dot_general is lax.dot_general
