"""Inputs that an augmentation does not accept."""

import numpy as np
import pytest
from augment_cases import IMAGES, NAMES, SEQUENTIAL, B, C, H, W, augmented, batch_of

pytestmark = pytest.mark.usefixtures("strict_promotion")


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"noise", "mixup"}))
def test_wrong_kind_of_input_is_an_error(name):
    what = r"sequences, float \[B, L, F\]" if name in SEQUENTIAL else r"images, float \[B, H, W, C\]"
    with pytest.raises(ValueError, match=rf"{name} needs {what}; found float32\[64, 4\]"):
        augmented(name, batch_of(IMAGES[:, 0, :4, 0]))


def test_unscaled_inputs_are_an_error():
    with pytest.raises(ValueError, match="found uint8"):
        augmented("noise", batch_of(np.zeros((B, H, W, C), np.uint8)))
