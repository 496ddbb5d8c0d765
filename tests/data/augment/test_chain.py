"""The chain of augmentations: order, keys, when it is off, and errors that name the augmentation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.data import augment
from dltrain.data.augment.chain import Chain
from dltrain.tasks import Classification, Segmentation
from dltrain.types import Feature, Kind, Spec

SPEC = Spec(
    {"numbers": Feature(Kind.NUMBERS, (4,), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))},
    Classification(),
)
BATCH = {"inputs": jnp.ones((6, 4)), "targets": jnp.arange(6, dtype=jnp.int32) % 3, "mask": jnp.ones(6, bool)}
KEY = jax.random.key(0)


def mixup(batch, key):
    return augment.mixup(batch, key, alpha=1.0, spec=SPEC)


def test_augmentation_is_off_for_the_last_updates_with_the_same_form_of_targets():
    chain = Chain({"noise": augment.noise, "mixup": mixup}, SPEC, off_for=2)
    both, augmented = jax.jit(chain), jax.jit(chain.augmented)(BATCH, KEY)
    for left in (5, 3, 2, 1, 0, -4):
        after = both(BATCH, KEY, jnp.int32(left))
        expected = augmented if left > 2 else {**BATCH, "targets": np.eye(3)[BATCH["targets"]]}
        for name, value in expected.items():
            np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=f"{name}, {left} left")
    assert both._cache_size() == 1


def test_each_augmentation_has_its_own_key():
    chain = Chain({"a": augment.noise, "b": augment.noise}, SPEC)
    once, twice = (np.asarray(c(BATCH, KEY, 1)["inputs"]) - 1 for c in (Chain({"a": augment.noise}, SPEC), chain))
    assert not np.allclose(twice, 2 * once, atol=1e-3)


def test_error_of_an_augmentation_has_its_key():
    chain = Chain({"noise": augment.noise, "turned": augment.rotation}, SPEC)
    with pytest.raises(ValueError, match=r"augment\.turned: rotation needs images.*found float32\[6, 4\]"):
        chain(BATCH, KEY, 1)


def test_main_input_of_several_is_augmented_up_to_its_length():
    sequence, length = Feature(Kind.SEQUENCE, (4, 2), "float32"), Feature(Kind.LENGTH, (), "int32")
    spec = Spec({"heard": sequence, "steps": length}, SPEC.targets, Classification())
    inputs = {"heard": jnp.ones((3, 4, 2)), "steps": jnp.array([4, 2, 1])}
    batch = {"inputs": inputs, "targets": jnp.zeros(3, jnp.int32), "mask": jnp.ones(3, bool)}
    chain = Chain({"masking": partial(augment.masking, share=1.0, fill=7.0)}, spec)
    found = chain(batch, KEY, 1)
    assert set(found) == set(batch) and found["inputs"]["steps"] is inputs["steps"]
    assert (np.asarray(found["inputs"]["heard"][..., 0]) == 7).sum(1).tolist() == [4, 2, 1]


def test_classes_of_pixels_are_not_mixed():
    pixels = Feature(Kind.CATEGORY, (4,), "int32", vocabulary=tuple("abc"))
    spec = Spec(SPEC.inputs, {"target": pixels}, Segmentation())
    with pytest.raises(ValueError, match="not targets of task=segmentation"):
        jax.eval_shape(
            lambda batch: augment.mixup(batch, KEY, spec=spec), {**BATCH, "targets": jnp.zeros((6, 4), jnp.int32)}
        )


def test_training_turns_augmentation_off_by_planned_length_wherever_it_is_split(make_program):
    """An augmentation that makes inputs NaN shows in the logs at which steps it was on."""

    def spoil(batch, key):
        return {**batch, "inputs": batch["inputs"] * jnp.nan}

    chain = Chain({"spoil": spoil}, SPEC, off_for=3)
    program = make_program(total=6, skip_nonfinite=True, augment=chain)
    state, finite = program.start(), []
    for step, count in ((0, 2), (2, 3), (5, 3)):  # two steps longer than planned
        state, logs = program.chunk(state, program.data, program.feed_chunk(step, count), np.int32(count))
        finite += np.asarray(logs["finite"])[:count].tolist()
    assert finite == [0, 0, 0, 1, 1, 1, 1, 1]
