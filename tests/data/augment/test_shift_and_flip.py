"""Flips mirror half of the images, and shifts crop a padded image."""

import numpy as np
import pytest
from augment_cases import IMAGES, H, W, augmented

pytestmark = pytest.mark.usefixtures("strict_promotion")


@pytest.mark.parametrize(("name", "axis"), [("flip_horizontal", 2), ("flip_vertical", 1)])
def test_flips_mirror_about_half_of_the_images(results, name, axis):
    mirrored = np.flip(IMAGES, axis)
    after = results[name]["inputs"]
    flipped = (after == mirrored).all((1, 2, 3))
    assert (flipped | (after == IMAGES).all((1, 2, 3))).all()
    assert 15 < flipped.sum() < 49


@pytest.mark.parametrize("border", ["constant", "edge", "reflect"])
def test_shift_crops_the_padded_image(results, border):
    after = (results["shift"] if border == "constant" else augmented("shift", border=border))["inputs"]
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=border)
    windows = np.stack([padded[:, i : i + H, j : j + W] for i in range(5) for j in range(5)])
    found = (windows == after[None]).all((2, 3, 4))
    assert (found.sum(0) == 1).all()
    assert len(np.unique(found.argmax(0))) > 15
