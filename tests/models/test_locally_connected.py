"""The locally connected network equals a NumPy loop over positions in double precision."""

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain import initializers
from dltrain.engine.state import split_module
from dltrain.models.cnn import Padding, Pool
from dltrain.models.locally_connected import LocallyConnected
from dltrain.tasks import Binary, Classification
from dltrain.types import Feature, Kind, Spec

PICTURES = Spec(
    {"image": Feature(Kind.IMAGE, (7, 6, 2), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))},
    Classification(),
)
X = np.random.default_rng(0).normal(size=(4, 7, 6, 2)).astype(np.float32)
SIZE = 3 * 3 * 2  # of what the layers below leave of an image


def in_numpy(params, x, *, kernel, stride, padding, pool, pool_stride=2):
    """One loop over places, blocks with relu, pooling 2x2, then the output: x [B, H, W, C] -> [B, 3]."""
    x = x.astype(np.float64)
    for layer in params["local"].values():
        h, w, channels = layer["bias"].shape
        if padding is Padding.SAME:  # as many zeros as are short, the odd one at the end
            short = [max((n - 1) * stride + kernel - size, 0) for n, size in zip((h, w), x.shape[1:3], strict=True)]
            x = np.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in short), (0, 0)])
        y = np.empty((len(x), h, w, channels))
        for i in range(h):
            for j in range(w):
                seen = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].reshape(len(x), -1)
                y[:, i, j] = seen @ layer["kernel"][i, j].reshape(-1, channels) + layer["bias"][i, j]
        x = np.maximum(y, 0)
        if pool is not Pool.NONE:
            windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (1, 2))[:, ::pool_stride, ::pool_stride]
            x = windows.max((-2, -1)) if pool is Pool.MAX else windows.mean((-2, -1))
    return x.reshape(len(x), -1) @ params["head"]["kernel"] + params["head"]["bias"]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 3, "stride": 1, "padding": Padding.SAME, "pool": Pool.MAX},
        {"kernel": 2, "stride": 2, "padding": Padding.VALID, "pool": Pool.NONE},
        {"kernel": 3, "stride": 2, "padding": Padding.SAME, "pool": Pool.AVERAGE, "pool_stride": 1},
    ],
    ids=["same", "valid", "strided"],
)
def test_values_and_gradients_equal_a_numpy_loop(options, filled, differentiated, close):
    channels = (3,) if options["pool"] is Pool.AVERAGE else (3, 2)
    model = filled(lambda rngs: LocallyConnected(channels, spec=PICTURES, rngs=rngs, dense=(), **options))
    params = jax.tree.map(np.float64, split_module(model)[1])
    outputs, gradients = differentiated(model, X)
    close(outputs, in_numpy(params, X, **options))
    rng, eps = np.random.default_rng(1), 1e-6
    way = jax.tree.map(lambda a: rng.normal(size=a.shape), params)
    ends = [jax.tree.map(lambda a, d, s=s: a + s * eps * d, params, way) for s in (1, -1)]
    up, down = ((in_numpy(end, X, **options) ** 2).sum() for end in ends)
    terms = [float((np.float64(g) * d).sum()) for g, d in zip(*map(jax.tree.leaves, (gradients, way)), strict=True)]
    assert sum(terms) == pytest.approx((up - down) / (2 * eps), abs=1e-5 * max(map(abs, terms)))


def test_each_place_starts_as_a_convolution_does_and_unlike_the_others():
    model = LocallyConnected((64,), spec=PICTURES, rngs=nnx.Rngs(0), dense=(), kernel_init=initializers.he_normal())
    kernel = np.asarray(model.local[0].kernel[...])
    assert kernel.shape == (7, 6, 9, 2, 64)
    spread = kernel.std((2, 3, 4)) / np.sqrt(2 / 18)
    assert np.all((spread > 0.9) & (spread < 1.1))  # four deviations: 1152 numbers a place
    assert len({float(k) for k in kernel[:, :, 0, 0, 0].ravel()}) == 42


@pytest.mark.parametrize(("dense", "shapes"), [((7, 5), [(4, 7), (4, 5)]), ((), [(4, SIZE)])])
def test_dropout_follows_each_dense_layer_or_the_flattened_features(dense, shapes, filled):
    model = filled(lambda rngs: LocallyConnected((2,), spec=PICTURES, rngs=rngs, dense=dense, dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == shapes


def test_data_that_is_not_an_image_and_images_that_vanish_are_refused():
    table = Spec(
        {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))},
        Binary(),
    )

    def make(*channels, spec=PICTURES, **options):
        nnx.eval_shape(lambda: LocallyConnected(channels, spec=spec, rngs=nnx.Rngs(0), **options))

    with pytest.raises(ValueError, match=r"needs images, but this data is a table of shape \(3,\); try model=mlp"):
        make(2, spec=table)
    with pytest.raises(ValueError, match=r"block 2 shrinks images of \(7, 6\) to nothing"):
        make(2, 2, 2)
    with pytest.raises(ValueError, match="block 1 shrinks"):
        make(2, 2, padding=Padding.VALID, kernel=5)
