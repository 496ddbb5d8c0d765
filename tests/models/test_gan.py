"""GANs: which gradient goes to which network, what batch norm sees, and fixed noise in evaluation."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx

from dltrain.engine.state import split_module
from dltrain.losses import gan
from dltrain.models.gan import DCGAN, GAN
from dltrain.models.layers import Norm
from dltrain.tasks import Adversarial
from dltrain.types import Feature, Kind, Spec

TABLE = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32")},
    Adversarial(),
)
PICTURES = Spec(
    {"image": Feature(Kind.IMAGE, (8, 8, 1), "uint8")},
    {"target": Feature(Kind.CATEGORY, (), "int32")},
    Adversarial(),
)
X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def small(**changes):
    return lambda rngs: GAN((4,), spec=TABLE, rngs=rngs, noise=2, **changes)


def on_device(model):
    graphdef, state = nnx.split(model)
    return nnx.merge(graphdef, jax.tree.map(jnp.asarray, state))  # batch norm writes into an array of NumPy's


def gradients(model, part):
    graphdef, params, rest = split_module(model)
    rest = jax.tree.map(jnp.asarray, rest)

    def loss(params):
        outputs = nnx.merge(graphdef, params, rest, copy=True)(X, mask=None, rngs=nnx.Rngs(dropout=1))
        return gan(outputs, {})[part].sum()

    return jax.jit(jax.grad(loss))(params)


def plain(model, x, name):
    """An MLP of one hidden layer in NumPy, float64."""
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), split_module(model)[1])[name]
    z = x @ params["hidden"][0]["kernel"] + params["hidden"][0]["bias"]
    slope = 0.2 if name == "discriminator" else 0.0
    return np.where(z > 0, z, slope * z) @ params["head"]["kernel"] + params["head"]["bias"]


@pytest.mark.parametrize(("part", "other"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_each_term_of_the_loss_changes_only_its_own_network(part, other, filled):
    model = filled(small(norm=Norm.NONE))
    model.train()
    found = gradients(model, part)
    assert all(np.any(x) for x in jax.tree.leaves(found[part]))
    assert not any(np.any(x) for x in jax.tree.leaves(found[other]))


def test_values_and_the_generators_gradient_are_those_of_the_two_networks_in_numpy(filled):
    model = filled(small(norm=Norm.NONE))
    model.train()
    noise = np.asarray(jax.random.normal(nnx.Rngs(dropout=1).dropout(), (7, 2)), np.float64)
    outputs = model(jnp.asarray(X), mask=None, rngs=nnx.Rngs(dropout=1))
    fake = plain(model, noise, "generator")
    judged = plain(model, fake, "discriminator")[:, 0]
    np.testing.assert_allclose(outputs["real"], plain(model, X, "discriminator")[:, 0], rtol=1e-5, atol=1e-6)
    for name in ("fake", "fooling"):
        np.testing.assert_allclose(outputs[name], judged, rtol=1e-5, atol=1e-6)
    bias = np.zeros(3)  # d/d(bias of the generator's head) of sum softplus(-D), by finite differences
    for i in range(3):
        there, back = (
            np.log1p(np.exp(-plain(model, fake + e * np.eye(3)[i], "discriminator"))).sum() for e in (1e-6, -1e-6)
        )
        bias[i] = (there - back) / 2e-6
    np.testing.assert_allclose(gradients(model, "generator")["generator"]["head"]["bias"], bias, rtol=1e-4)


def test_batch_norm_sees_real_examples_and_then_generated_ones_and_no_others(filled):
    model = on_device(filled(small(norm=Norm.NONE, discriminator_norm=Norm.BATCH)))
    model.train()
    norm, layer = model.discriminator.norms[0], model.discriminator.hidden[0]
    before = np.array(norm.mean[...])
    noise = jax.random.normal(nnx.Rngs(dropout=1).dropout(), (7, 2))
    fake = model.generator(noise, mask=None, rngs=None)
    real, made = (np.asarray(layer(jnp.asarray(x))).mean(0) for x in (X, fake))
    model(jnp.asarray(X), mask=None, rngs=nnx.Rngs(dropout=1))
    np.testing.assert_allclose(norm.mean[...], 0.9 * (0.9 * before + 0.1 * real) + 0.1 * made, rtol=1e-5)


def test_evaluation_classifies_by_the_statistics_of_the_batch_and_changes_none(filled):
    model = on_device(filled(small(norm=Norm.NONE, discriminator_norm=Norm.BATCH)))
    model.train()
    training = model(jnp.asarray(X), mask=None, rngs=nnx.Rngs(dropout=1))
    before = np.array(model.discriminator.norms[0].mean[...])
    model.eval()
    found = model(jnp.asarray(X), mask=None, rngs=None)
    np.testing.assert_allclose(found["real"], training["real"], rtol=1e-5)
    np.testing.assert_array_equal(model.discriminator.norms[0].mean[...], before)


def test_padding_examples_change_nothing_for_the_real_ones(filled):
    model = filled(small(discriminator_norm=Norm.BATCH))
    model.train()
    mask = np.array([True] * 5 + [False] * 2)
    both = []
    for rest in (0.0, 1e6):
        rows = np.where(mask[:, None], X, rest)
        graphdef, state = nnx.split(model)
        copy = nnx.merge(graphdef, state, copy=True)
        outputs = copy(jnp.asarray(rows), mask=jnp.asarray(mask), rngs=nnx.Rngs(dropout=1))
        both.append(jax.tree.map(lambda x: np.asarray(x)[mask], outputs))
    jax.tree.map(np.testing.assert_array_equal, *both)


def test_evaluation_takes_the_same_noise_each_time(filled):
    model = filled(small())
    model.eval()
    first, second = (model(jnp.asarray(X), mask=None, rngs=None) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


@few("sides", [(8, 8), (7, 5)], 1)  # 7 is halved to 4 and 2, 5 to 3 and 2
def test_samples_are_shaped_and_scaled_as_the_data(filled, sides):
    assert filled(small()).sample(jax.random.key(0), 5).shape == (5, 3)
    spec = replace(PICTURES, inputs={"image": Feature(Kind.IMAGE, (*sides, 1), "uint8")})
    model = filled(lambda rngs: DCGAN((2, 3), spec=spec, rngs=rngs, noise=4))
    model.eval()
    found = jax.jit(lambda: model.sample(jax.random.key(0), 5))()
    assert found.shape == (5, *sides, 1)
    assert -1 <= found.min() < found.max() <= 1
    graphdef, state = nnx.split(model)
    verdicts = jax.jit(lambda state: nnx.merge(graphdef, state, copy=True)(found, mask=None, rngs=None))(state)
    assert {name: logits.shape for name, logits in verdicts.items()} == dict.fromkeys(verdicts, (5,))


def test_images_that_cannot_be_halved_so_often_are_refused():
    with pytest.raises(ValueError, match=r"8x8 cannot be halved 4 times; use fewer model\.channels"):
        DCGAN((1, 2, 3, 4), spec=PICTURES, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="try model=gan"):
        DCGAN(spec=TABLE, rngs=nnx.Rngs(0))
