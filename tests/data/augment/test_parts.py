"""Augmentation: each row its own draw, one key one result, padding apart, targets that fit."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import OmegaConf

from dltrain.data import augment
from dltrain.types import Feature, Kind, Spec, Task

CONFIGS = Path(__file__).parents[3] / "configs" / "augment"
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
        (Task.CLASSIFICATION, (), tuple("abcde")),
        (Task.BINARY, (), ("no", "yes")),
        (Task.REGRESSION, (2,), ()),
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


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def inputs_of(name):
    return SERIES if name in SEQUENTIAL else IMAGES


def batch_of(inputs=IMAGES, targets=LABELS, mask=MASK):
    return {"inputs": jnp.asarray(inputs), "targets": jnp.asarray(targets), "mask": jnp.asarray(mask)}


def augmented(name, batch=None, key=KEY, **options):
    options = OPTIONS.get(name, {}) | options
    if name in MIXING:
        options["spec"] = Task.CLASSIFICATION
    return jax.device_get(program(name, tuple(options.items()))(batch or batch_of(inputs_of(name)), key))


@functools.cache
def program(name, options):
    """One compilation for each choice of options."""
    options = dict(options)
    if "spec" in options:
        options["spec"] = SPECS[options["spec"]]
    return jax.jit(functools.partial(getattr(augment, name), **options))


@pytest.fixture(scope="module")
def results():
    class Results(dict):
        def __missing__(self, name):  # compiled where it is first asked for
            return self.setdefault(name, augmented(name))

    return Results()


@pytest.mark.parametrize("name", NAMES)
def test_every_augmentation_has_a_yaml_whose_arguments_it_takes(name):
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))[name]
    assert node.pop("_target_") == f"dltrain.data.augment.{name}"
    spec = {"spec": SPECS[Task.CLASSIFICATION]} if name in MIXING else {}
    jax.eval_shape(lambda b: getattr(augment, name)(b, KEY, **node, **spec), batch_of(inputs_of(name)))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_dtypes_and_masks_stay(results, name):
    after = results[name]
    assert after["inputs"].shape == inputs_of(name).shape and after["inputs"].dtype == np.float32
    np.testing.assert_array_equal(after["mask"], MASK)
    assert np.isfinite(after["inputs"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_changed_each_in_its_own_way_and_the_next_key_draws_anew(results, name):
    inputs = inputs_of(name)
    constant = batch_of(np.broadcast_to(inputs[:1], inputs.shape))
    if name in MIXING:  # equal pictures mix to themselves: look at the targets
        shares = results[name]["targets"]
        assert len(np.unique(shares.max(1).round(6))) > 5
    else:
        rows = augmented(name, constant)["inputs"].reshape(B, -1)
        assert len(np.unique(rows, axis=0)) > 1
    again, other = (augmented(name, key=key)["inputs"] for key in (KEY, jax.random.key(8)))
    np.testing.assert_array_equal(again, results[name]["inputs"])
    assert not np.array_equal(other, again)


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_padding_rows_changes_no_real_row(results, name):
    spoiled = inputs_of(name).copy()
    spoiled[~MASK] = 1e9
    labels = np.where(MASK, LABELS, 0).astype(np.int32)
    after = augmented(name, batch_of(spoiled, labels))
    np.testing.assert_array_equal(after["inputs"][MASK], results[name]["inputs"][MASK])
    np.testing.assert_array_equal(after["targets"][MASK], results[name]["targets"][MASK])


@pytest.mark.parametrize(("name", "axis"), [("flip_horizontal", 2), ("flip_vertical", 1)])
def test_flips_mirror_about_half_of_the_rows(results, name, axis):
    mirrored = np.flip(IMAGES, axis)
    after = results[name]["inputs"]
    flipped = (after == mirrored).all((1, 2, 3))
    assert (flipped | (after == IMAGES).all((1, 2, 3))).all()
    assert 15 < flipped.sum() < 49


@pytest.mark.parametrize("border", ["constant", "edge", "reflect"])
def test_shift_cuts_a_window_out_of_the_padded_picture(results, border):
    after = (results["shift"] if border == "constant" else augmented("shift", border=border))["inputs"]
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=border)
    windows = np.stack([padded[:, i : i + H, j : j + W] for i in range(5) for j in range(5)])
    found = (windows == after[None]).all((2, 3, 4))
    assert (found.sum(0) == 1).all()
    assert len(np.unique(found.argmax(0))) > 15


def test_noise_and_light_have_the_size_that_was_asked_for(results):
    assert (results["noise"]["inputs"] - IMAGES).std() == pytest.approx(0.3, rel=0.05)
    added = results["brightness"]["inputs"] - IMAGES
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-6)
    assert 0.4 < np.abs(added).max() <= 0.5
    after, mean = results["contrast"]["inputs"], IMAGES.mean((1, 2, 3), keepdims=True)
    factor = (after - mean) / (IMAGES - mean)
    middle = np.median(factor, (1, 2, 3), keepdims=True)
    np.testing.assert_allclose(factor, np.broadcast_to(middle, factor.shape), rtol=0.02)
    assert 0.5 <= middle.min() < 0.6 and 1.4 < middle.max() <= 1.5


def test_cutout_covers_one_square_that_may_hang_over_the_border(results):
    after = results["cutout"]["inputs"]
    covered = (after == 9).all(-1)
    assert (after[~covered] == IMAGES[~covered]).all()
    for row in covered:
        i, j = np.nonzero(row)
        assert row[i.min() : i.max() + 1, j.min() : j.max() + 1].all()
        assert 2 <= np.ptp(i) + 1 <= 4 and 2 <= np.ptp(j) + 1 <= 4
    assert covered.sum((1, 2)).max() == 16


def test_mixup_mixes_inputs_and_targets_with_one_partner_in_one_proportion(results):
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


def test_cutmix_pastes_a_box_and_counts_its_area(results):
    after = results["cutmix"]
    pasted = (after["inputs"] != IMAGES).any(-1)
    kept = 1 - pasted.mean((1, 2))
    own = after["targets"][np.arange(B), LABELS]
    partner_differs = own < 1
    np.testing.assert_allclose(own[partner_differs], kept[partner_differs], atol=1e-6)
    assert partner_differs.sum() > 20 and not pasted[~MASK].any()


def test_mixed_targets_of_two_classes_and_of_numbers_stay_one_column():
    for task, targets in {Task.BINARY: LABELS % 2, Task.REGRESSION: np.zeros((B, 2), np.float32)}.items():
        batch = batch_of(targets=targets)
        mixed = jax.eval_shape(lambda b, spec=SPECS[task]: augment.mixup(b, KEY, spec=spec), batch)["targets"]
        assert (mixed.shape, mixed.dtype) == (targets.shape, jnp.float32)


def test_noise_and_mixup_take_tables_too():
    table = batch_of(np.zeros((B, 4), np.float32))
    for name, spec in {"noise": {}, "mixup": {"spec": SPECS[Task.CLASSIFICATION]}}.items():
        after = jax.eval_shape(lambda b, n=name, s=spec: getattr(augment, n)(b, KEY, **s), table)
        assert after["inputs"].shape == (B, 4)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"noise", "mixup"}))
def test_what_is_no_picture_or_sequence_is_refused(name):
    what = r"sequences, float \[B, L, F\]" if name in SEQUENTIAL else r"images, float \[B, H, W, C\]"
    with pytest.raises(ValueError, match=rf"{name} needs {what}; found float32\[64, 4\]"):
        augmented(name, batch_of(IMAGES[:, 0, :4, 0]))


def test_unscaled_inputs_are_refused():
    with pytest.raises(ValueError, match="found uint8"):
        augmented("noise", batch_of(np.zeros((B, H, W, C), np.uint8)))
