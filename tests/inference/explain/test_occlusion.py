"""Occlusion of a linear forecast has its closed form."""

import numpy as np
from flax import nnx
from small_bundle import small_bundle

from dltrain.inference.explain.occlusion import cuts, occluded, occlusion
from dltrain.tasks import Forecasting
from dltrain.types import Feature, Kind, Spec

SPEC = Spec(
    {"past": Feature(Kind.SEQUENCE, (24, 2), "float32", ("load", "heat"))},
    {"future": Feature(Kind.NUMBERS, (3, 1), "float32", names=("load",))},
    Forecasting(),
)


class Sums(nnx.Module):
    """The forecast of each step is a weighted sum of the window."""

    def __init__(self, *, spec, rngs):
        self.kernel = nnx.Param(rngs.params.normal((24, 2, 3)))

    def __call__(self, inputs, *, mask, rngs):
        return (inputs[..., None] * self.kernel[...][None]).sum((1, 2))[..., None]


def test_the_change_is_that_of_the_replaced_steps():
    bundle = small_bundle(Sums, SPEC)
    past = np.random.default_rng(0).normal(size=(7, 24, 2)).astype(np.float32)
    found = occlusion(bundle, past, "past")
    assert (found.columns, found.outputs, found.effect.shape) == (("load", "heat"), ("load",), (2, 12, 3, 1))
    assert found.stretches[0] == (-24, -22) and found.stretches[-1] == (-2, 0)
    kernel = np.asarray(bundle.params["kernel"][...], np.float64)
    away = past.mean(1, keepdims=True) - past
    expected = np.abs(np.einsum("nl,lh->nh", away[:, 4:6, 1], kernel[4:6, 1])).mean(0)
    np.testing.assert_allclose(found.effect[1, 2, :, 0], expected, rtol=1e-4)


def test_stretches_cover_all_steps_once():
    assert cuts(5) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    parts = cuts(50)
    assert [b for _, b in parts[:-1]] == [a for a, _ in parts[1:]] and (parts[0][0], parts[-1][1]) == (0, 50)


def test_the_mean_is_that_of_the_valid_steps():
    values = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    changed = occluded(values, 0, (0, 2), np.array([4]))
    assert changed[0, :3, 0].tolist() == [1.5, 1.5, 2]
