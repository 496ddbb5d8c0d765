"""The chain of augmentations: its order and keys, when it rests, and what it says of one that cannot work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.data import augment
from dltrain.data.augment.chain import Chain
from dltrain.types import ArraySpec, Kind, Spec, Task

SPEC = Spec(ArraySpec((4,), "float32"), ArraySpec((), "int32"), Task.CLASSIFICATION, Kind.TABLE, tuple("abc"))
BATCH = {"inputs": jnp.ones((6, 4)), "targets": jnp.arange(6, dtype=jnp.int32) % 3, "mask": jnp.ones(6, bool)}
KEY = jax.random.key(0)


def mixup(batch, key):
    return augment.mixup(batch, key, alpha=1.0, spec=SPEC)


def test_it_rests_for_the_last_updates_and_beyond_with_targets_of_one_form():
    chain = Chain({"noise": augment.noise, "mixup": mixup}, SPEC, off_for=2)
    both, augmented = jax.jit(chain), jax.jit(chain.augmented)(BATCH, KEY)
    for left in (5, 3, 2, 1, 0, -4):
        after = both(BATCH, KEY, jnp.int32(left))
        expected = augmented if left > 2 else {**BATCH, "targets": np.eye(3)[BATCH["targets"]]}
        for name, value in expected.items():
            np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=f"{name}, {left} left")
    assert both._cache_size() == 1


def test_each_has_a_key_of_its_own():
    chain = Chain({"a": augment.noise, "b": augment.noise}, SPEC)
    once, twice = (np.asarray(c(BATCH, KEY, 1)["inputs"]) - 1 for c in (Chain({"a": augment.noise}, SPEC), chain))
    assert not np.allclose(twice, 2 * once, atol=1e-3)


def test_an_augmentation_that_cannot_take_the_batch_is_named_by_its_key():
    chain = Chain({"noise": augment.noise, "turned": augment.rotation}, SPEC)
    with pytest.raises(ValueError, match=r"augment\.turned: rotation needs images.*found float32\[6, 4\]"):
        chain(BATCH, KEY, 1)


def test_classes_of_pixels_are_not_mixed():
    spec = Spec(SPEC.inputs, ArraySpec((4,), "int32"), Task.SEGMENTATION, Kind.TABLE, tuple("abc"))
    with pytest.raises(ValueError, match="the task is segmentation"):
        jax.eval_shape(
            lambda batch: augment.mixup(batch, KEY, spec=spec), {**BATCH, "targets": jnp.zeros((6, 4), jnp.int32)}
        )


def test_training_rests_by_the_planned_length_wherever_it_is_cut(make_program):
    """An augmentation that spoils the inputs shows in the logs which steps it was on at."""

    def spoil(batch, key):
        return {**batch, "inputs": batch["inputs"] * jnp.nan}

    chain = Chain({"spoil": spoil}, SPEC, off_for=3)
    program = make_program(total=6, skip_nonfinite=True, augment=chain)
    state, finite = program.start(), []
    for step, count in ((0, 2), (2, 3), (5, 3)):  # two steps longer than planned
        state, logs = program.chunk(state, program.data, program.feed_chunk(step, count), np.int32(count))
        finite += np.asarray(logs["finite"])[:count].tolist()
    assert finite == [0, 0, 0, 1, 1, 1, 1, 1]
