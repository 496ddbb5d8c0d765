"""Cutout, mixup and cutmix: covered squares, mixed inputs and mixed targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from augment_cases import IMAGES, KEY, LABELS, MASK, SPECS, B, K, batch_of

from dltrain.data import augment
from dltrain.tasks import Binary, Regression

pytestmark = pytest.mark.usefixtures("strict_promotion")


def test_cutout_covers_one_square_that_may_cross_the_border(results):
    after = results["cutout"]["inputs"]
    covered = (after == 9).all(-1)
    assert (after[~covered] == IMAGES[~covered]).all()
    for row in covered:
        i, j = np.nonzero(row)
        assert row[i.min() : i.max() + 1, j.min() : j.max() + 1].all()
        assert 2 <= np.ptp(i) + 1 <= 4 and 2 <= np.ptp(j) + 1 <= 4
    assert covered.sum((1, 2)).max() == 16


def test_mixup_mixes_inputs_and_targets_with_the_same_partner_and_share(results):
    after = results["mixup"]
    shares, inputs = after["targets"], after["inputs"]
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(inputs[~MASK], IMAGES[~MASK])
    np.testing.assert_array_equal(shares[~MASK], np.eye(K)[LABELS[~MASK]])
    real = np.flatnonzero(MASK)
    for row in real:
        # x' - x = (1-λ)(x_partner - x) for some partner, and the targets say the same λ.
        moved, toward = inputs[row] - IMAGES[row], IMAGES[real] - IMAGES[row]
        rest = (moved * toward).sum((1, 2, 3)) / np.maximum((toward**2).sum((1, 2, 3)), 1e-9)
        same = np.abs(moved - rest[:, None, None, None] * toward).max((1, 2, 3)) < 1e-4
        targets = (1 - rest[:, None]) * np.eye(K)[LABELS[row]] + rest[:, None] * np.eye(K)[LABELS[real]]
        assert (same & (np.abs(targets - shares[row]).max(1) < 1e-4)).any()


def test_cutmix_pastes_a_box_and_mixes_targets_by_area(results):
    after = results["cutmix"]
    pasted = (after["inputs"] != IMAGES).any(-1)
    kept = 1 - pasted.mean((1, 2))
    own = after["targets"][np.arange(B), LABELS]
    partner_differs = own < 1
    np.testing.assert_allclose(own[partner_differs], kept[partner_differs], atol=1e-6)
    assert partner_differs.sum() > 20 and not pasted[~MASK].any()


def test_mixed_targets_of_two_classes_and_of_regression_stay_one_column():
    for task, targets in {Binary(): LABELS % 2, Regression(): np.zeros((B, 2), np.float32)}.items():
        batch = batch_of(targets=targets)
        mixed = jax.eval_shape(lambda b, spec=SPECS[task]: augment.mixup(b, KEY, spec=spec), batch)["targets"]
        assert (mixed.shape, mixed.dtype) == (targets.shape, jnp.float32)
