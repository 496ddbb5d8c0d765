"""Colours compared with colorsys, blur with SciPy; noise and brightness have the given size."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from augment_cases import IMAGES
from few import few
from scipy import ndimage

from dltrain.data import augment
from dltrain.data.augment.colour import blurred, grey_of, hue_turned
from dltrain.data.augment.inputs import UNSCALED
from dltrain.data.preprocess import Affine

pytestmark = pytest.mark.usefixtures("strict_promotion")

B, H, W = 6, 8, 10
COLOURS = np.random.default_rng(0).uniform(size=(B, H, W, 3)).astype(np.float32)
COLOURS[0, 0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 1]]  # greys have no hue
LUMA = np.array([0.299, 0.587, 0.114])
SCALED = Affine(np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.3, 0.1], np.float32))
KEY = jax.random.key(1)


def batch_of(inputs, **more):
    return {"inputs": jnp.asarray(inputs), "mask": jnp.ones(len(inputs), bool), **more}


def test_rotated_hues_equal_colorsys():
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


@few("name", ["hue", "saturation", "contrast", "randaugment"], 3)
def test_colours_are_in_the_units_of_the_data_for_any_scaling(name):
    # The same draws on scaled and unscaled images; contrast and RandAugment blend with greys and blacks.
    @jax.jit
    def both(x):
        one = getattr(augment, name)
        scaled = one(batch_of(SCALED.forward(x)), KEY, scaled_by=SCALED)["inputs"]
        return one(batch_of(x), KEY, scaled_by=UNSCALED)["inputs"], SCALED.inverse(scaled)

    plain, scaled = both(COLOURS)
    np.testing.assert_allclose(scaled, plain, atol=1e-5)
    assert np.abs(np.asarray(plain) - COLOURS).max() > 0.01


def test_saturation_scales_differences_from_grey():
    grey = (COLOURS.astype(np.float64) @ LUMA)[..., None]
    np.testing.assert_allclose(
        grey_of(jnp.asarray(COLOURS), UNSCALED), np.broadcast_to(grey, COLOURS.shape), atol=1e-6
    )
    many = np.broadcast_to(COLOURS[1:2], (300, H, W, 3))
    after = np.asarray(augment.saturation(batch_of(many), KEY, delta=0.4)["inputs"])
    factors = ((after - grey[1]) * (many - grey[1])).sum((1, 2, 3)) / ((many - grey[1]) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(after, grey[1] + factors[:, None, None, None] * (many - grey[1]), atol=1e-5)
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4001


def test_blur_equals_the_gaussian_of_scipy():
    sigma = np.array([0.05, 0.3, 0.7, 1.0, 1.5, 2.0], np.float32)
    after = jax.jit(blurred, static_argnums=2)(COLOURS, sigma, 5)
    for x, s, found in zip(COLOURS.astype(np.float64), sigma.tolist(), after, strict=True):
        expected = ndimage.gaussian_filter(x, s, axes=(0, 1), radius=5, mode="nearest")
        np.testing.assert_allclose(found, expected, atol=2e-6)
    drawn = augment.blur(batch_of(COLOURS), KEY, sigma=(1.5, 1.5))["inputs"]
    np.testing.assert_allclose(drawn[4], after[4], atol=1e-6)


@pytest.mark.parametrize("name", ["hue", "saturation"])
def test_grey_images_have_no_hue(name):
    with pytest.raises(ValueError, match=rf"{name} needs red, green and blue, .*found float32\[6, 8, 10, 1\]"):
        getattr(augment, name)(batch_of(COLOURS[..., :1]), KEY)


def test_noise_brightness_and_contrast_have_the_given_size(results):
    assert (results["noise"]["inputs"] - IMAGES).std() == pytest.approx(0.3, rel=0.05)
    added = results["brightness"]["inputs"] - IMAGES
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-6)
    assert 0.4 < np.abs(added).max() <= 0.5
    after, mean = results["contrast"]["inputs"], IMAGES.mean((1, 2, 3), keepdims=True)
    factor = (after - mean) / (IMAGES - mean)
    middle = np.median(factor, (1, 2, 3), keepdims=True)
    np.testing.assert_allclose(factor, np.broadcast_to(middle, factor.shape), rtol=0.02)
    assert 0.5 <= middle.min() < 0.6 and 1.4 < middle.max() <= 1.5
