"""Augmentation inside the step: `(batch, key, *, options) -> batch`, on the device, after the inputs are scaled.

Each row gets its own draw, from the key alone, so one seed gives one result. Images are float `[B, H, W, C]`,
sequences float `[B, L, F]`. Where the model is given several inputs, `inputs` is here the one array that is
augmented, and `length [B]` says how many of its steps are valid. The mask stays as it is, and no real row takes
anything from a padding row. A function that must know colours as the data has them takes the offer `scaled_by`;
values are never clipped.
"""

from dltrain.data.augment.colour import blur, brightness, contrast, hue, noise, saturation
from dltrain.data.augment.geometry import (
    flip_horizontal,
    flip_vertical,
    random_resized_crop,
    rotation,
    scaling,
    shift,
)
from dltrain.data.augment.inputs import Border
from dltrain.data.augment.mixing import cutmix, cutout, mixup
from dltrain.data.augment.policy import randaugment
from dltrain.data.augment.sequence import masking, time_shift

__all__ = [
    "Border",
    "blur",
    "brightness",
    "contrast",
    "cutmix",
    "cutout",
    "flip_horizontal",
    "flip_vertical",
    "hue",
    "masking",
    "mixup",
    "noise",
    "randaugment",
    "random_resized_crop",
    "rotation",
    "saturation",
    "scaling",
    "shift",
    "time_shift",
]
