"""Rotation, zoom and crop compared with SciPy's interpolation and NumPy's rot90, and values outside the image."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from scipy import ndimage

from dltrain.data import augment
from dltrain.data.augment.geometry import cropped, moved, rotated
from dltrain.data.augment.inputs import Border
from dltrain.data.preprocess import Affine

B, H, W, C = 5, 9, 12, 2
IMAGES = np.random.default_rng(0).normal(size=(B, H, W, C)).astype(np.float32)
OUTSIDE = np.array([0.5, -1.0], np.float32).reshape(1, 1, 1, 2)
MODES = {Border.ZERO: "grid-constant", Border.EDGE: "nearest", Border.REFLECT: "mirror"}
KEY = jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def drawn(name, batch, **options):
    """The augmented inputs, compiled."""
    one = functools.partial(getattr(augment, name), **options)
    return np.asarray(jax.jit(lambda batch, key: one(batch, key)["inputs"])(batch, KEY))


def looked_up(pictures, rows, columns, border):
    """Interpolate at positions [B, H', W'] with SciPy, in float64."""
    found = np.empty((*rows.shape, pictures.shape[-1]))
    for b, c in np.ndindex(len(pictures), pictures.shape[-1]):
        at = np.stack([rows[b], columns[b]])
        outside = float(OUTSIDE[0, 0, 0, c])
        picture = pictures[b, ..., c].astype(np.float64)
        found[b, ..., c] = ndimage.map_coordinates(picture, at, order=1, mode=MODES[border], cval=outside)
    return found


def places(matrix, offset):
    """Positions at which each pixel is interpolated, [B, H, W] twice."""
    middle = np.array([(H - 1) / 2, (W - 1) / 2])
    grid = np.stack(np.meshgrid(np.arange(H), np.arange(W), indexing="ij"), -1) - middle
    at = np.einsum("bij,hwj->bhwi", matrix, grid) + offset[:, None, None, :] + middle
    return at[..., 0], at[..., 1]


@pytest.mark.parametrize("border", list(Border))
def test_moved_images_equal_scipy(border):
    rng = np.random.default_rng(1)
    matrix = np.eye(2) + rng.normal(size=(B, 2, 2))
    offset = rng.normal(size=(B, 2)) * 4
    move = jax.jit(functools.partial(moved, border=border, outside=OUTSIDE))
    after = move(IMAGES, matrix.astype(np.float32), offset.astype(np.float32))
    np.testing.assert_allclose(after, looked_up(IMAGES, *places(matrix, offset), border), atol=3e-5)


def test_quarter_rotations_equal_rot90_and_a_full_turn_is_the_identity():
    square = IMAGES[:, :, :H]
    turn = jax.jit(functools.partial(rotated, border=Border.ZERO, outside=OUTSIDE))
    for degrees, quarters in [(0, 0), (90, 1), (180, 2), (-90, 3), (360, 0)]:
        after = turn(square, jnp.full(B, degrees, jnp.float32))
        np.testing.assert_allclose(after, np.rot90(square, quarters, axes=(1, 2)), atol=1e-5)


def test_rotation_draws_both_directions_up_to_the_limit():
    # A ramp along the columns, turned: its slope along the rows is the sine of the angle.
    count, size = 200, 41
    ramp = np.broadcast_to(np.arange(size, dtype=np.float32)[None, None, :, None], (count, size, size, 1))
    batch = {"inputs": jnp.asarray(ramp), "mask": jnp.ones(count, bool)}
    after = drawn("rotation", batch, degrees=30.0, border=Border.EDGE)
    angles = np.rad2deg(np.arcsin(-(after[:, 25, 20, 0] - after[:, 15, 20, 0]) / 10))
    assert -30 <= angles.min() < -27 and 27 < angles.max() <= 30 and abs(angles.mean()) < 4


def test_cropped_box_equals_scipy_and_the_whole_box_is_the_identity():
    boxes = [(np.array([1.0, 0, 2.5, 3, 4], np.float32), np.array([4.0, 9, 6.5, 1, 5], np.float32))]
    boxes.append((np.array([2.0, 0, 0.5, 7, 3.3], np.float32), np.array([10.0, 12, 2.5, 5, 8.7], np.float32)))
    after = cropped(IMAGES, boxes)
    rows, columns = (
        begin[:, None] + (np.arange(n) + 0.5) / n * side[:, None] - 0.5
        for (begin, side), n in zip(boxes, (H, W), strict=True)
    )
    rows, columns = (np.broadcast_to(a, (B, H, W)) for a in (rows[:, :, None], columns[:, None, :]))
    np.testing.assert_allclose(after, looked_up(IMAGES, rows, columns, Border.EDGE), atol=2e-5)
    np.testing.assert_allclose(after[1], IMAGES[1], atol=1e-5)


def ramps(count, height, width):
    """Images whose channels are the row and the column of each pixel."""
    both = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(np.float32)
    return {"inputs": jnp.asarray(np.broadcast_to(both, (count, *both.shape))), "mask": jnp.ones(count, bool)}


def test_random_resized_crop_draws_boxes_of_the_given_area_and_ratio():
    height, width = 40, 60
    batch = ramps(300, height, width)
    after = drawn("random_resized_crop", batch, scale=(0.1, 0.4), ratio=(0.5, 2.0))
    first, last = after[:, 10, 10], after[:, -11, -11]  # away from the border, which is repeated
    sides = (last - first) / (np.array([height, width]) - 21) * np.array([height, width])
    share = sides.prod(1) / (height * width)
    ratio = sides[:, 1] / sides[:, 0] * height / width
    assert 0.0999 < share.min() < 0.12 and 0.38 < share.max() < 0.4001
    assert 0.499 < ratio.min() < 0.55 and 1.85 < ratio.max() < 2.001
    assert after[..., 0].min() >= 0 and after[..., 0].max() <= height - 1 and after[..., 1].max() <= width - 1
    begins = after[:, 20, 30] - sides / 2
    assert begins.min() < 3 and begins.max() > 15  # anywhere


def test_scaling_zooms_about_the_centre_within_the_factors():
    after = drawn("scaling", ramps(300, 21, 31), factors=(0.5, 2.0), border=Border.EDGE)
    np.testing.assert_allclose(after[:, 10, 15], np.broadcast_to([10, 15], (300, 2)), atol=1e-4)
    factors = 2 / (after[:, 11, 15, 0] - after[:, 9, 15, 0])
    np.testing.assert_allclose(factors, 2 / (after[:, 10, 16, 1] - after[:, 10, 14, 1]), rtol=1e-4)
    assert 0.5 <= factors.min() < 0.53 and 1.9 < factors.max() <= 2.0001
    assert abs(np.log(factors).mean()) < 0.1


@few("name", ["shift", "rotation", "scaling", "randaugment"], 3)
def test_outside_is_black_in_the_units_of_the_data(name):
    scaled_by = Affine(np.array([30.0, 90.0], np.float32), np.array([7.0, 3.0], np.float32))
    black = scaled_by.forward(jnp.zeros((B, H, W, C)))
    options = {"magnitude": 30.0, "num_ops": 4} if name == "randaugment" else {}
    batch = {"inputs": black, "mask": jnp.ones(B, bool)}
    after = drawn(name, batch, scaled_by=scaled_by, **options)
    np.testing.assert_allclose(after, black, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["flip_horizontal", "shift", "rotation", "scaling", "random_resized_crop", "randaugment", "time_shift"]
)
def test_geometric_augmentation_with_targets_per_pixel_is_an_error(name):
    shape = (B, H, W) if name == "time_shift" else (B, H, W, C)
    batch = {"inputs": jnp.zeros(shape), "targets": jnp.zeros((B, H, W), jnp.int32), "mask": jnp.ones(B, bool)}
    with pytest.raises(ValueError, match=rf"{name} moves .* of the targets int32\[5, 9, 12\]; use noise"):
        jax.eval_shape(lambda b: getattr(augment, name)(b, KEY), batch)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("scaling", {"factors": (2.0, 0.5)}, r"factors=\[2, 0.5\]: the first value must not exceed the second"),
        ("random_resized_crop", {"scale": (1.0, 0.5)}, r"scale=\[1, 0.5\]: the first value must not exceed"),
        ("shift", {"pixels": 9}, "pixels=9: must be at most 8"),
    ],
)
def test_invalid_options_are_an_error(name, options, message):
    batch = {"inputs": jnp.asarray(IMAGES), "mask": jnp.ones(B, bool)}
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda b: getattr(augment, name)(b, KEY, **options), batch)
