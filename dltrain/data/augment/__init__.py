"""Augmentation inside the step: `(batch, key, *, options) -> batch`, on the device, after the inputs are scaled.

Each example has its own random draw, from the key alone, so one seed gives one result. Images are float
`[B, H, W, C]`, sequences float `[B, L, F]`. For a model with several inputs, `inputs` is the one array that is
augmented, and `length [B]` the number of its valid steps. The mask does not change, and no example takes values
from padding. A function that needs values in the units of the data has a parameter `scaled_by`, which is filled in;
values are never clipped.

Hand-written, since torchvision and Pillow work on the host, image by image, and PIX has no masks or mixed targets.
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
