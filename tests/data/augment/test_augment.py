"""The contract of all augmentations: a draw per example, one result per key, no padding used, shapes kept."""

import jax
import numpy as np
import pytest
from augment_cases import CONFIGS, KEY, LABELS, MASK, MIXING, NAMES, SPECS, B, augmented, batch_of, inputs_of
from omegaconf import OmegaConf

from dltrain.data import augment
from dltrain.tasks import Classification

pytestmark = pytest.mark.usefixtures("strict_promotion")


@pytest.mark.parametrize("name", NAMES)
def test_every_augmentation_accepts_the_arguments_of_its_yaml(name):
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))[name]
    assert node.pop("_target_") == f"dltrain.data.augment.{name}"
    spec = {"spec": SPECS[Classification()]} if name in MIXING else {}
    jax.eval_shape(lambda b: getattr(augment, name)(b, KEY, **node, **spec), batch_of(inputs_of(name)))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_dtypes_and_masks_are_kept(results, name):
    after = results[name]
    assert after["inputs"].shape == inputs_of(name).shape and after["inputs"].dtype == np.float32
    np.testing.assert_array_equal(after["mask"], MASK)
    assert np.isfinite(after["inputs"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_example_has_its_own_draw_and_another_key_draws_differently(results, name):
    inputs = inputs_of(name)
    constant = batch_of(np.broadcast_to(inputs[:1], inputs.shape))
    if name in MIXING:  # equal images mix to themselves: look at the targets
        shares = results[name]["targets"]
        assert len(np.unique(shares.max(1).round(6))) > 5
    else:
        rows = augmented(name, constant)["inputs"].reshape(B, -1)
        assert len(np.unique(rows, axis=0)) > 1
    again, other = (augmented(name, key=key)["inputs"] for key in (KEY, jax.random.key(8)))
    np.testing.assert_array_equal(again, results[name]["inputs"])
    assert not np.array_equal(other, again)


@pytest.mark.parametrize("name", NAMES)
def test_content_of_padding_changes_no_valid_example(results, name):
    spoiled = inputs_of(name).copy()
    spoiled[~MASK] = 1e9
    labels = np.where(MASK, LABELS, 0).astype(np.int32)
    after = augmented(name, batch_of(spoiled, labels))
    np.testing.assert_array_equal(after["inputs"][MASK], results[name]["inputs"][MASK])
    np.testing.assert_array_equal(after["targets"][MASK], results[name]["targets"][MASK])


def test_noise_and_mixup_accept_tables():
    table = batch_of(np.zeros((B, 4), np.float32))
    for name, spec in {"noise": {}, "mixup": {"spec": SPECS[Classification()]}}.items():
        after = jax.eval_shape(lambda b, n=name, s=spec: getattr(augment, n)(b, KEY, **s), table)
        assert after["inputs"].shape == (B, 4)
