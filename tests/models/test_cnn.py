"""The convolutional network equals PyTorch's with the same weights, and refuses what does not fit."""

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain.models.cnn import CNN, Gather, Padding, Pool
from dltrain.models.layers import Norm
from dltrain.types import ArraySpec, Kind, Spec, Task

PICTURES = Spec(
    ArraySpec((9, 8, 2), "float32"), ArraySpec((), "int32"), Task.CLASSIFICATION, Kind.IMAGE, tuple("abc")
)
X = np.random.default_rng(0).normal(size=(4, 9, 8, 2)).astype(np.float32)
SIZE = 4 * 4 * 2  # of what the convolutions below leave of a picture


def in_torch(torch, model, options, x):
    """The same network of torch.nn.functional, from the same weights."""
    function = torch.nn.functional

    def tensor(param):
        return torch.from_numpy(np.array(param[...]))

    x = torch.from_numpy(x).permute(0, 3, 1, 2)
    for convolution, norm in zip(model.convolutions, model.norms, strict=True):
        kernel, stride = tensor(convolution.kernel).permute(3, 2, 0, 1), options.get("stride", 1)
        if options.get("padding", Padding.SAME) is Padding.SAME:
            short = [max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0) for n in x.shape[2:]]
            x = function.pad(x, [edge for s in reversed(short) for edge in (s // 2, s - s // 2)])
        x = function.conv2d(x, kernel, tensor(convolution.bias), stride=stride)
        if norm is not None:
            x = function.batch_norm(x, None, None, tensor(norm.scale), tensor(norm.bias), training=True)
        x = function.relu(x)
        pool = options.get("pool", Pool.MAX)
        if pool is not Pool.NONE:
            x = (function.max_pool2d if pool is Pool.MAX else function.avg_pool2d)(x, options.get("window", 2))
    match options.get("gather", Gather.FLATTEN):
        case Gather.FLATTEN:
            x = x.permute(0, 2, 3, 1).flatten(1)
        case Gather.MEAN:
            x = x.mean((2, 3))
        case Gather.MAX:
            x = x.amax((2, 3))
    for layer in model.dense:
        x = function.relu(x @ tensor(layer.kernel) + tensor(layer.bias))
    return (x @ tensor(model.head.kernel) + tensor(model.head.bias)).numpy()


@pytest.mark.parametrize(
    "options",
    [
        {"channels": (3, 4)},
        {
            "channels": (3,),
            "padding": Padding.VALID,
            "kernel": 4,
            "pool": Pool.AVERAGE,
            "norm": Norm.BATCH,
            "gather": Gather.MAX,
        },
        {"channels": (3, 4), "stride": 2, "pool": Pool.NONE, "dense": ()},
        {"channels": (3,), "window": 3, "gather": Gather.MEAN, "dense": (5, 6)},
    ],
)
def test_it_equals_torch(options, filled, called):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    options = {"dense": (5,), **options}
    model = filled(lambda rngs: CNN(spec=PICTURES, rngs=rngs, **options))
    model.train()
    np.testing.assert_allclose(called(model, X)[0], in_torch(torch, model, options, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dense", "shapes"), [((7, 5), [(4, 7), (4, 5)]), ((), [(4, SIZE)])])
def test_dropout_stands_after_each_dense_layer_or_where_one_would_be(dense, shapes, filled):
    model = filled(lambda rngs: CNN((2,), spec=PICTURES, rngs=rngs, dense=dense, dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == shapes


def test_data_that_is_no_picture_and_pictures_that_vanish_are_refused():
    table = Spec(ArraySpec((3,), "float32"), ArraySpec((), "int32"), Task.BINARY, Kind.TABLE, ("no", "yes"))

    def build(*channels, spec=PICTURES, **options):
        nnx.eval_shape(lambda: CNN(channels, spec=spec, rngs=nnx.Rngs(0), **options))

    with pytest.raises(ValueError, match=r"needs pictures, and this data is a table of shape \(3,\)"):
        build(2, spec=table)
    with pytest.raises(ValueError, match=r"block 3 shrinks pictures of \(9, 8\) to nothing"):
        build(2, 2, 2, 2)
    with pytest.raises(ValueError, match="block 1 shrinks"):
        build(2, 2, padding=Padding.VALID, kernel=5)
