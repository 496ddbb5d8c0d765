"""A batch of images, and every augmentation compiled once per choice of options."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.data import augment
from dltrain.tasks import Binary, Classification, Regression
from dltrain.types import Feature, Kind, Spec

CONFIGS = Path(__file__).parents[2] / "configs" / "augment"
B, H, W, C, K = 64, 8, 10, 3, 5
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(B, H, W, C)).astype(np.float32)
LABELS = RNG.integers(0, K, B).astype(np.int32)
MASK = np.arange(B) < 50
KEY = jax.random.key(7)
SPECS = {
    task: Spec(
        {"image": Feature(Kind.IMAGE, (H, W, C), "float32")},
        {"target": Feature(Kind.CATEGORY, targets, "float32", vocabulary=classes)},
        task,
    )
    for task, targets, classes in [
        (Classification(), (), tuple("abcde")),
        (Binary(), (), ("no", "yes")),
        (Regression(), (2,), ()),
    ]
}
OPTIONS = {
    "shift": {"pixels": 2},
    "noise": {"stddev": 0.3},
    "brightness": {"delta": 0.5},
    "contrast": {"delta": 0.5},
    "cutout": {"size": 4, "fill": 9.0},
    "randaugment": {"magnitude": 20.0},
}
MIXING = ("mixup", "cutmix")
SEQUENTIAL = ("time_shift", "masking")
SERIES = IMAGES.reshape(B, H, W * C)
NAMES = sorted(set(augment.__all__) - {"Border"})


def inputs_of(name):
    return SERIES if name in SEQUENTIAL else IMAGES


def batch_of(inputs=IMAGES, targets=LABELS, mask=MASK):
    return {"inputs": jnp.asarray(inputs), "targets": jnp.asarray(targets), "mask": jnp.asarray(mask)}


def augmented(name, batch=None, key=KEY, **options):
    options = OPTIONS.get(name, {}) | options
    if name in MIXING:
        options["spec"] = Classification()
    return jax.device_get(program(name, tuple(options.items()))(batch or batch_of(inputs_of(name)), key))


@functools.cache
def program(name, options):
    """One compilation for each choice of options."""
    options = dict(options)
    if "spec" in options:
        options["spec"] = SPECS[options["spec"]]
    return jax.jit(functools.partial(getattr(augment, name), **options))
