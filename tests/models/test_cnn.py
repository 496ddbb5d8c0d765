"""The convolutional network equals PyTorch's with the same weights, and refuses shapes that do not fit."""

import jax
import numpy as np
import pytest
from few import few
from flax import nnx

from dltrain import activations
from dltrain.models.cnn import CNN, HeadPooling, Padding, Pool, Pooling, activated_and_pooled
from dltrain.models.layers import Norm
from dltrain.tasks import Binary, Classification
from dltrain.types import Feature, Kind, Spec


@pytest.fixture(autouse=True)
def _quick():
    """Compile fused loops as for users: with its older way XLA of jax 0.10 gives NaN for a gradient that is 0."""


@pytest.fixture
def quick():
    """Compile without optimisations, but in the same way."""
    return {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


PICTURES = Spec(
    {"image": Feature(Kind.IMAGE, (9, 8, 2), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))},
    Classification(),
)
X = np.random.default_rng(0).normal(size=(4, 9, 8, 2)).astype(np.float32)
SIZE = 4 * 4 * 2  # of what the convolutions below leave of an image


def in_torch(params, x, options):
    """The same network of torch.nn.functional, from the same weights."""
    function = pytest.importorskip("torch").nn.functional
    norms = params.get("norms", {})
    for name, convolution in params["convolutions"].items():
        kernel, stride = convolution["kernel"].permute(3, 2, 0, 1), options.get("stride", 1)
        if options.get("padding", Padding.SAME) is Padding.SAME:
            short = [max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0) for n in x.shape[2:]]
            x = function.pad(x, [edge for s in reversed(short) for edge in (s // 2, s - s // 2)])
        x = function.conv2d(x, kernel, convolution["bias"], stride=stride)
        if name in norms:
            x = function.batch_norm(x, None, None, norms[name]["scale"], norms[name]["bias"], training=True)
        x = function.relu(x)
        pool, window = options.get("pool", Pool.MAX), options.get("window", 2)
        if pool is not Pool.NONE:
            pooled = function.max_pool2d if pool is Pool.MAX else function.avg_pool2d
            x = pooled(x, window, options.get("pool_stride", window))
    match options.get("head_pooling", HeadPooling.FLATTEN):
        case HeadPooling.FLATTEN:
            x = x.permute(0, 2, 3, 1).flatten(1)
        case HeadPooling.MEAN:
            x = x.mean((2, 3))
        case HeadPooling.MAX:
            x = x.amax((2, 3))
    for layer in params.get("dense", {}).values():
        x = function.relu(x @ layer["kernel"] + layer["bias"])
    return x @ params["head"]["kernel"] + params["head"]["bias"]


@few(
    "options",
    [
        {"channels": (3, 4)},
        {
            "channels": (3,),
            "padding": Padding.VALID,
            "kernel": 4,
            "pool": Pool.AVERAGE,
            "pool_stride": 3,
            "norm": Norm.BATCH,
            "head_pooling": HeadPooling.MAX,
        },
        {"channels": (3, 4), "stride": 2, "pool": Pool.NONE, "dense": ()},
        {"channels": (3,), "window": 3, "pool_stride": 2, "head_pooling": HeadPooling.MEAN, "dense": (5, 6)},
    ],
    2,
)
def test_values_and_gradients_equal_torch(options, filled, equals_torch, x64):
    options = {"dense": (5,), **options}
    model = filled(lambda rngs: CNN(spec=PICTURES, rngs=rngs, **options), np.float64)
    model.train()
    equals_torch(model, X, lambda params, x: in_torch(params, x, options))


@pytest.mark.parametrize(("kind", "stride"), [(Pool.MAX, 2), (Pool.MAX, 1), (Pool.AVERAGE, 2)])
@pytest.mark.slow
def test_relu_behind_the_largest_changes_no_bit_and_others_stay_before_it(kind, stride):
    # Whole numbers around zero: windows with ties, with nothing above zero, and with zero as the largest.
    x = np.random.default_rng(0).integers(-3, 3, (5, 6, 7, 2)).astype(np.float32)
    reference = nnx.max_pool if kind is Pool.MAX else nnx.avg_pool

    def value_and_gradient(function):
        return jax.jit(jax.value_and_grad(lambda x: (function(x) * np.float32(1.7)).sum()))(x)

    for activation in (jax.nn.relu, activations.relu, jax.numpy.square):
        ours = value_and_gradient(lambda x, f=activation: activated_and_pooled(x, f, Pooling(kind, 2, stride)) ** 2)
        before = value_and_gradient(lambda x, f=activation: reference(f(x), (2, 2), (stride, stride)) ** 2)
        jax.tree.map(np.testing.assert_array_equal, ours, before)


@pytest.mark.parametrize(("dense", "shapes"), [((7, 5), [(4, 7), (4, 5)]), ((), [(4, SIZE)])])
def test_dropout_follows_each_dense_layer_or_the_flattened_features(dense, shapes, filled):
    model = filled(lambda rngs: CNN((2,), spec=PICTURES, rngs=rngs, dense=dense, dropout=0.5))
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

    def build(*channels, spec=PICTURES, **options):
        nnx.eval_shape(lambda: CNN(channels, spec=spec, rngs=nnx.Rngs(0), **options))

    with pytest.raises(ValueError, match=r"needs images, but this data is a table of shape \(3,\)"):
        build(2, spec=table)
    with pytest.raises(ValueError, match=r"block 3 shrinks images of \(9, 8\) to nothing"):
        build(2, 2, 2, 2)
    with pytest.raises(ValueError, match="block 1 shrinks"):
        build(2, 2, padding=Padding.VALID, kernel=5)
