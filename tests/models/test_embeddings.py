"""Embeddings of numbers against their formulas in float64 NumPy; categories and numbers in one vector."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.models.embeddings import Embedding, make_embedding
from dltrain.models.vector import Vector, vector_of
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

EDGES = ((-1.0, 0.0, 0.5, 2.0), (0.0, 1.0))
NUMBERS = Feature(Kind.NUMBERS, (2,), "float32", bins=EDGES)
X = np.array([[-3.0, 0.25], [0.25, -1.0], [5.0, 3.0], [-0.5, 1.0]], np.float32)


def made(kind, filled):
    module = filled(lambda rngs: make_embedding(Embedding(kind), NUMBERS, rngs=rngs))
    weights = {name: np.asarray(value, np.float64) for name, value in nnx.to_pure_dict(nnx.state(module)).items()}
    return module, weights


def plr(w):
    angles = 2 * np.pi * X[:, :, None].astype(np.float64) * w["frequencies"]
    waves = np.concatenate([np.cos(angles), np.sin(angles)], -1)
    return np.maximum(waves @ w["kernel"] + w["bias"], 0)


def pbld(w):
    waves = np.cos(2 * np.pi * X[:, :, None].astype(np.float64) * w["frequencies"] + w["phases"])
    linear = np.stack([waves[:, c] @ w["kernel"][c] for c in range(2)], 1) + w["bias"]
    return np.concatenate([linear, X[:, :, None]], -1)


def ple(w):
    found = np.zeros((len(X), 2, 16))
    for c, edges in enumerate(EDGES):
        for b, row in enumerate(X[:, c].astype(np.float64)):
            found[b, c] = row * w["linear"][c] + w["bias"][c]
            last = len(edges) - 2
            for n in range(last + 1):
                inside = (row - edges[n]) / (edges[n + 1] - edges[n])
                inside = inside if n == last else min(inside, 1)
                inside = inside if n == 0 else max(inside, 0)
                found[b, c] += inside * w["kernel"][c, n]
    return found


@pytest.mark.parametrize("formula", [plr, ple, pbld])
def test_embeddings_equal_their_formula_in_float64(formula, filled):
    module, weights = made(formula.__name__, filled)
    found = module(jnp.asarray(X))
    assert found.shape == (4, module.size)
    np.testing.assert_allclose(found, formula(weights).reshape(4, -1), rtol=1e-4, atol=1e-4)


def test_piecewise_linear_needs_bins_of_the_data():
    feature = Feature(Kind.NUMBERS, (2,), "float32")
    with pytest.raises(ValueError, match="embedding=ple: the data has no bins"):
        make_embedding(Embedding.PLE, feature, rngs=nnx.Rngs(0))


def test_an_embedding_without_numbers_is_refused():
    spec = Spec(
        {"image": Feature(Kind.IMAGE, (2, 2, 1), "uint8")},
        {"y": Feature(Kind.NUMBERS, (1,), "float32")},
        Regression(),
    )
    with pytest.raises(ValueError, match="embedding=plr: embeds the columns of numbers"):
        Vector(spec, rngs=nnx.Rngs(0), embedding=Embedding.PLR)


def test_numbers_are_embedded_next_to_categories():
    levels = (tuple("ab"), tuple("abc"), tuple("abcdefghijkl"))
    categories = Feature(Kind.CATEGORIES, (3,), "int32", names=tuple("xyz"), levels=levels)
    spec = Spec(
        {"numbers": NUMBERS, "categories": categories}, {"y": Feature(Kind.NUMBERS, (1,), "float32")}, Regression()
    )
    vector = Vector(spec, rngs=nnx.Rngs(0), embedding=Embedding.PBLD)
    codes = jnp.asarray([[1, 2, 3], [2, 0, 0], [0, 3, 12], [1, 1, 1]])
    found = np.asarray(vector({"numbers": jnp.asarray(X), "categories": codes}))
    assert found.shape == (4, vector.size) and vector.size == 2 * 4 + 1 + 3 + 8
    np.testing.assert_array_equal(found[:, 8], [-1, 1, 0, -1])  # of two levels; 0 is unknown
    np.testing.assert_array_equal(found[:, 9:12], [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert (found[1, 12:] == 0).all() and np.ptp(found[[0, 2, 3], 12:]) > 0


def convolved(x, kernel, bias):
    """3x3, the size kept, by the definition in float64; then relu and max pooling of 2x2."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    shifted = [[padded[:, i : i + height, j : j + width] for j in range(3)] for i in range(3)]
    y = np.maximum(sum(shifted[i][j] @ kernel[i, j] for i in range(3) for j in range(3)) + bias, 0)
    if min(height, width) < 2:
        return y
    y = y[:, : height // 2 * 2, : width // 2 * 2]
    return y.reshape(len(y), height // 2, 2, width // 2, 2, -1).max((2, 4))


def test_an_image_next_to_numbers_becomes_a_vector():
    image = Feature(Kind.IMAGE, (5, 6, 3), "uint8")
    target = {"y": Feature(Kind.NUMBERS, (1,), "float32")}
    vector = Vector(Spec({"numbers": NUMBERS, "photo": image}, target, Regression()), rngs=nnx.Rngs(0))
    pixels = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    found = np.asarray(vector({"numbers": jnp.asarray(X), "photo": jnp.asarray(pixels)}))
    assert found.shape == (4, vector.size) and vector.size == 2 + 64
    expected = pixels.astype(np.float64)
    for layer in vector.images["photo"].convolutions:
        expected = convolved(expected, np.asarray(layer.kernel[...], np.float64), np.asarray(layer.bias[...]))
    np.testing.assert_allclose(found[:, 2:], expected.mean((1, 2)), rtol=1e-4, atol=1e-4)
    assert Vector(Spec({"photo": image}, target, Regression()), rngs=nnx.Rngs(0)).size == 90  # alone: flattened


def test_scales_of_the_paper():
    many = Feature(Kind.NUMBERS, (500,), "float32")
    drawn = [make_embedding(kind, many, rngs=nnx.Rngs(0)) for kind in (Embedding.PLR, Embedding.PBLD)]
    for module, deviation in zip(drawn, (0.01, 0.1), strict=True):
        assert abs(float(jnp.std(module.frequencies[...])) / deviation - 1) < 0.05


@pytest.mark.parametrize("kind", [Embedding.PLR, Embedding.PBLD])
def test_the_deviation_of_the_frequencies_can_be_chosen(kind):
    many = Feature(Kind.NUMBERS, (500,), "float32")
    module = make_embedding(kind, many, rngs=nnx.Rngs(0), frequency=3.0)
    assert abs(float(jnp.std(module.frequencies[...])) / 3 - 1) < 0.05


@pytest.mark.parametrize("kind", [Embedding.NONE, Embedding.PLE])
def test_frequencies_are_refused_where_there_are_none(kind):
    spec = Spec({"numbers": Feature(Kind.NUMBERS, (2,), "float32")}, {}, Regression())
    with pytest.raises(ValueError, match=f"frequency=3: is for embedding=plr and pbld, not for {kind}"):
        vector_of(spec, rngs=nnx.Rngs(0), embedding=kind, frequency=3.0)
