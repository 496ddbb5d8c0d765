"""The operations of RandAugment one by one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dltrain.data import augment
from dltrain.data.augment import policy
from dltrain.data.augment.inputs import UNSCALED, Border

pytestmark = pytest.mark.usefixtures("strict_promotion")

B, H, W = 6, 8, 10
COLOURS = np.random.default_rng(0).uniform(size=(B, H, W, 3)).astype(np.float32)
COLOURS[0, 0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 1]]  # greys have no hue
LUMA = np.array([0.299, 0.587, 0.114])
KEY = jax.random.key(1)


def batch_of(inputs, **more):
    return {"inputs": jnp.asarray(inputs), "mask": jnp.ones(len(inputs), bool), **more}


def by_hand(name, x, v):
    """The result of an operation of RandAugment at strength v, float64."""

    def affine(matrix, offset=(0, 0)):
        middle = (np.array([H, W]) - 1) / 2
        shift = middle - np.asarray(matrix) @ middle + np.asarray(offset)
        channels = [
            ndimage.affine_transform(x[..., c], matrix, shift, order=1, mode="grid-constant") for c in range(3)
        ]
        return np.stack(channels, -1)

    c, s = np.cos(np.deg2rad(30 * v)), np.sin(np.deg2rad(30 * v))
    others = {
        "brightness": np.zeros_like(x),
        "contrast": np.full_like(x, x.mean()),
        "saturation": np.broadcast_to((x @ LUMA)[..., None], x.shape),
        "sharpness": ndimage.gaussian_filter(x, 1, axes=(0, 1), radius=1, mode="nearest"),
    }
    if name in others:
        return others[name] + (1 + 0.9 * v) * (x - others[name])
    return {
        "identity": lambda: x,
        "rotation": lambda: affine([[c, s], [-s, c]]),
        "shear_rows": lambda: affine([[1, 0.3 * v], [0, 1]]),
        "shear_columns": lambda: affine([[1, 0], [0.3 * v, 1]]),
        "shift_rows": lambda: affine(np.eye(2), (0.45 * H * v, 0)),
        "shift_columns": lambda: affine(np.eye(2), (0, 0.45 * W * v)),
    }[name]()


def test_each_operation_of_randaugment_equals_its_definition():
    names = policy.OPERATIONS
    strength = np.tile([0.8, -0.5], len(names)).astype(np.float32)
    drawn = np.repeat(np.arange(len(names), dtype=np.int32), 2)
    x = np.broadcast_to(COLOURS[1:2], (len(drawn), H, W, 3))
    operate = jax.jit(lambda *given: policy.operated(*given, border=Border.ZERO, scaled_by=UNSCALED))
    for k, found in enumerate(operate(x, drawn, strength)):
        expected = by_hand(names[drawn[k]], COLOURS[1].astype(np.float64), float(strength[k]))
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=names[drawn[k]])


def test_randaugment_draws_operations_uniformly_and_no_saturation_for_grey_images(monkeypatch):
    seen = []
    monkeypatch.setattr(policy, "operated", lambda x, drawn, strength, **_: seen.append((drawn, strength)) or x)
    for channels in (3, 1):
        augment.randaugment(batch_of(np.zeros((1000, 2, 2, channels), np.float32)), KEY, num_ops=2, magnitude=15.0)
    for (drawn, strength), choices in zip(seen, (10, 10, 9, 9), strict=True):
        assert 60 < np.bincount(drawn, minlength=10)[:choices].min() and drawn.max() == choices - 1
        assert set(np.unique(strength)) == {-0.5, 0.5} and abs(np.mean(strength)) < 0.1
    assert not np.array_equal(seen[0][0], seen[1][0])


def test_randaugment_of_magnitude_zero_is_the_identity():
    after = jax.jit(partial(augment.randaugment, num_ops=3, magnitude=0.0))(batch_of(COLOURS), KEY)["inputs"]
    np.testing.assert_allclose(after, COLOURS, atol=1e-5)
