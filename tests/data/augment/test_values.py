"""Colours against colorsys, blur against SciPy, RandAugment's operations one by one, sequences."""

import colorsys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dltrain.data import augment
from dltrain.data.augment import policy
from dltrain.data.augment.colour import blurred, grey_of, hue_turned
from dltrain.data.augment.inputs import UNSCALED, Border
from dltrain.data.preprocess import Affine

B, H, W = 6, 8, 10
COLOURS = np.random.default_rng(0).uniform(size=(B, H, W, 3)).astype(np.float32)
COLOURS[0, 0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 1]]  # greys have no hue
LUMA = np.array([0.299, 0.587, 0.114])
SCALED = Affine(np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.3, 0.1], np.float32))
KEY = jax.random.key(1)


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def batch_of(inputs, **more):
    return {"inputs": jnp.asarray(inputs), "mask": jnp.ones(len(inputs), bool), **more}


def test_turned_hues_equal_colorsys():
    turns = np.array([0.0, 0.1, -0.25, 0.5, 1 / 3, -0.9], np.float32)

    def turned(pixel, turn):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((h + turn) % 1.0, s, v)

    pairs = zip(COLOURS.astype(np.float64), turns.tolist(), strict=True)
    expected = np.stack([np.apply_along_axis(turned, -1, x, turn) for x, turn in pairs])
    turn = jax.jit(hue_turned)
    np.testing.assert_allclose(turn(COLOURS, turns), expected, atol=2e-6)
    np.testing.assert_allclose(turn(COLOURS, jnp.ones(B)), COLOURS, atol=2e-6)
    np.testing.assert_allclose(turn(255 * COLOURS - 40, turns), 255 * expected - 40, atol=1e-3)  # any range


@pytest.mark.parametrize("name", ["hue", "saturation", "contrast", "randaugment"])
def test_colours_are_those_of_the_data_whatever_the_scaling(name):
    # The same draws on scaled and unscaled pictures; contrast and RandAugment blend with greys and blacks.
    @jax.jit
    def both(x):
        one = getattr(augment, name)
        scaled = one(batch_of(SCALED.forward(x)), KEY, scaled_by=SCALED)["inputs"]
        return one(batch_of(x), KEY, scaled_by=UNSCALED)["inputs"], SCALED.inverse(scaled)

    plain, scaled = both(COLOURS)
    np.testing.assert_allclose(scaled, plain, atol=1e-5)
    assert np.abs(np.asarray(plain) - COLOURS).max() > 0.01


def test_saturation_stretches_colours_about_their_grey():
    grey = (COLOURS.astype(np.float64) @ LUMA)[..., None]
    np.testing.assert_allclose(
        grey_of(jnp.asarray(COLOURS), UNSCALED), np.broadcast_to(grey, COLOURS.shape), atol=1e-6
    )
    many = np.broadcast_to(COLOURS[1:2], (300, H, W, 3))
    after = np.asarray(augment.saturation(batch_of(many), KEY, delta=0.4)["inputs"])
    factors = ((after - grey[1]) * (many - grey[1])).sum((1, 2, 3)) / ((many - grey[1]) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(after, grey[1] + factors[:, None, None, None] * (many - grey[1]), atol=1e-5)
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4001


def test_blur_equals_scipys_gaussian():
    sigma = np.array([0.05, 0.3, 0.7, 1.0, 1.5, 2.0], np.float32)
    after = jax.jit(blurred, static_argnums=2)(COLOURS, sigma, 5)
    for x, s, found in zip(COLOURS.astype(np.float64), sigma.tolist(), after, strict=True):
        expected = ndimage.gaussian_filter(x, s, axes=(0, 1), radius=5, mode="nearest")
        np.testing.assert_allclose(found, expected, atol=2e-6)
    drawn = augment.blur(batch_of(COLOURS), KEY, sigma=(1.5, 1.5))["inputs"]
    np.testing.assert_allclose(drawn[4], after[4], atol=1e-6)


@pytest.mark.parametrize("name", ["hue", "saturation"])
def test_grey_pictures_have_no_hue(name):
    with pytest.raises(ValueError, match=rf"{name} needs red, green and blue, .*found float32\[6, 8, 10, 1\]"):
        getattr(augment, name)(batch_of(COLOURS[..., :1]), KEY)


def by_hand(name, x, v):
    """What an operation of RandAugment at strength v makes of a picture, float64."""

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


def test_each_operation_of_randaugment_is_what_it_is_called():
    names = policy.OPERATIONS
    strength = np.tile([0.8, -0.5], len(names)).astype(np.float32)
    drawn = np.repeat(np.arange(len(names), dtype=np.int32), 2)
    x = np.broadcast_to(COLOURS[1:2], (len(drawn), H, W, 3))
    operate = jax.jit(lambda *given: policy.operated(*given, border=Border.ZERO, scaled_by=UNSCALED))
    for k, found in enumerate(operate(x, drawn, strength)):
        expected = by_hand(names[drawn[k]], COLOURS[1].astype(np.float64), float(strength[k]))
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=names[drawn[k]])


def test_randaugment_draws_each_operation_as_often_and_leaves_colours_of_grey_pictures_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(policy, "operated", lambda x, drawn, strength, **_: seen.append((drawn, strength)) or x)
    for channels in (3, 1):
        augment.randaugment(batch_of(np.zeros((1000, 2, 2, channels), np.float32)), KEY, num_ops=2, magnitude=15.0)
    for (drawn, strength), choices in zip(seen, (10, 10, 9, 9), strict=True):
        assert 60 < np.bincount(drawn, minlength=10)[:choices].min() and drawn.max() == choices - 1
        assert set(np.unique(strength)) == {-0.5, 0.5} and abs(np.mean(strength)) < 0.1
    assert not np.array_equal(seen[0][0], seen[1][0])


def test_randaugment_of_no_magnitude_is_the_picture():
    after = jax.jit(partial(augment.randaugment, num_ops=3, magnitude=0.0))(batch_of(COLOURS), KEY)["inputs"]
    np.testing.assert_allclose(after, COLOURS, atol=1e-5)


SERIES = np.random.default_rng(1).normal(size=(200, 12, 2)).astype(np.float32)
LENGTHS = np.random.default_rng(2).integers(1, 13, 200).astype(np.int32)


@pytest.mark.parametrize(("border", "mode"), [("edge", "edge"), ("reflect", "reflect"), ("constant", "constant")])
def test_time_shift_moves_what_is_real_and_nothing_beyond(border, mode):
    after = augment.time_shift(batch_of(SERIES, length=jnp.asarray(LENGTHS)), KEY, steps=3, border=Border(border))
    moves = set()
    for x, found, n in zip(SERIES, np.asarray(after["inputs"]), LENGTHS, strict=True):
        np.testing.assert_array_equal(found[n:], x[n:])
        padded = np.pad(x[:n], ((3, 3), (0, 0)), mode=mode)
        fits = [k for k in range(7) if np.array_equal(padded[k : k + n], found[:n])]
        assert fits
        moves |= set(fits) if n == 12 else set()
    assert moves == set(range(7))


@pytest.mark.parametrize("span", [1, 4])
def test_masking_covers_the_share_in_spans_and_nothing_beyond_the_length(span):
    after = augment.masking(batch_of(SERIES), KEY, share=0.3, span=span, fill=7.0)["inputs"]
    covered = (np.asarray(after) == 7).all(-1)
    np.testing.assert_array_equal(np.asarray(after)[~covered], SERIES[~covered])
    assert covered.mean() == pytest.approx(0.3, abs=0.04)
    np.testing.assert_allclose(covered.mean(0), 0.3, atol=0.12)  # the ends as often as the middle
    inner = [len(run) for row in covered for run in "".join("x" if c else " " for c in row[1:-1]).split(" ") if run]
    assert min(inner[1:-1]) >= 1 and max(inner) >= span
    short = augment.masking(batch_of(SERIES, length=jnp.asarray(LENGTHS)), KEY, share=1.0, fill=7.0)["inputs"]
    np.testing.assert_array_equal((np.asarray(short) == 7).all(-1), np.arange(12)[None] < LENGTHS[:, None])
