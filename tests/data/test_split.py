"""Splits: disjoint, complete, stratified, and a function of the labels and the split seed alone."""

import numpy as np
import pytest

from dltrain.data.split import NAMES, make_splits
from dltrain.errors import DataError

LABELS = np.repeat([0, 1, 2, 3], [100, 60, 37, 3])[np.random.default_rng(1).permutation(200)]


def split(labels=LABELS, rows=200, *, published=None, validation=0.1, test=0.2, seed=0):
    return make_splits(labels, rows, published=published or {}, validation=validation, test=test, seed=seed)


@pytest.mark.parametrize("labels", [LABELS, None])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_example_is_in_exactly_one_split_in_order(labels, seed):
    splits = split(labels, seed=seed)
    together = np.concatenate([splits[name] for name in NAMES])
    np.testing.assert_array_equal(np.sort(together), np.arange(200))
    for name in NAMES:
        assert splits[name].dtype == np.int32
        assert (np.diff(splits[name]) > 0).all()
    assert (len(splits.test), len(splits.validation)) == (40, 16)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("test", "validation"), [(0.2, 0.1), (0.07, 0.33), (0.5, 0.0)])
def test_each_class_has_its_share_to_within_one_example(seed, test, validation):
    splits = split(test=test, validation=validation, seed=seed)
    rest = LABELS.copy()
    for name, fraction in (("test", test), ("validation", validation)):
        rows = np.bincount(rest[rest >= 0], minlength=4)
        taken = np.bincount(LABELS[splits[name]], minlength=4)
        assert (np.abs(taken - rows * fraction) < 1).all(), (name, taken, rows * fraction)
        assert taken.sum() == round(rows.sum() * fraction)
        rest[splits[name]] = -1


def test_the_split_seed_and_the_labels_determine_the_splits_and_nothing_else():
    one, same, other = split(seed=3), split(LABELS.astype(np.int64), seed=3), split(seed=4)
    for name in NAMES:
        np.testing.assert_array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])
    np.random.seed(0)  # the global generator has no say
    np.testing.assert_array_equal(split(seed=3).test, one.test)


def test_examples_of_a_class_are_drawn_and_not_the_first_ones():
    sorted_labels = np.repeat([0, 1], 100)
    taken = split(sorted_labels, validation=0).test
    assert np.abs(taken[:20].mean() - 49.5) < 20
    seeds = [split(sorted_labels, validation=0, seed=seed).test for seed in range(60)]
    counts = np.bincount(np.concatenate(seeds), minlength=200)  # each example is drawn 12 times in 60, give or take
    assert counts.min() > 0
    assert counts.max() < 30


def test_published_splits_are_kept_and_validation_comes_from_the_rest():
    published = np.arange(199, 149, -1)
    splits = split(published={"test": published}, validation=0.1)
    np.testing.assert_array_equal(splits.test, np.arange(150, 200))
    assert len(splits.validation) == 15
    assert splits.validation.max() < 150
    both = split(published={"test": published, "validation": np.arange(10)}, validation=0.5)
    np.testing.assert_array_equal(both.validation, np.arange(10))
    assert len(both.train) == 140


def test_validation_does_not_move_when_only_the_test_fraction_is_published_otherwise():
    """The draws for test and validation do not share random numbers."""
    assert not np.array_equal(
        split(None, test=0.1, validation=0).test, split(None, test=0, validation=0.1).validation
    )


def test_a_fraction_of_nothing_is_an_empty_split_and_one_too_small_an_error():
    empty = split(validation=0, test=0)
    assert (len(empty.train), len(empty.validation), len(empty.test)) == (200, 0, 0)
    with pytest.raises(
        DataError, match=r"data\.validation=0\.001: leaves no example for validation \(160 examples"
    ):
        split(validation=0.001)
    with pytest.raises(DataError, match=r"no example of \d+ is left for training"):
        split(published={"test": np.arange(200)}, validation=0)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_folds_partition_the_training_examples_stratified_and_leave_test_unchanged(labels):
    def cut(fold):
        return make_splits(labels, 200, published={}, validation=0.0, test=0.2, seed=0, folds=5, fold=fold)

    folds, test = [cut(fold) for fold in range(5)], split(labels).test
    together = np.concatenate([f.validation for f in folds])
    np.testing.assert_array_equal(np.sort(together), np.setdiff1d(np.arange(200), test))
    for f in folds:
        np.testing.assert_array_equal(f.test, test)
        np.testing.assert_array_equal(np.sort([*f.train, *f.validation, *f.test]), np.arange(200))
        assert len(f.validation) == 32 and (np.diff(f.validation) > 0).all()
    if labels is not None:
        counts = np.stack([np.bincount(LABELS[f.validation], minlength=4) for f in folds])
        assert (np.ptp(counts, axis=0) <= 1).all()


def test_folds_replace_a_published_validation_split():
    published = {"test": np.arange(20), "validation": np.arange(20, 60)}
    folds = [
        make_splits(LABELS, 200, published=published, validation=0.1, test=0.2, seed=0, folds=4, fold=fold)
        for fold in range(4)
    ]
    together = np.sort(np.concatenate([f.validation for f in folds]))
    np.testing.assert_array_equal(together, np.arange(20, 200))


def test_more_folds_than_examples_are_refused():
    with pytest.raises(DataError, match=r"data.folds=9: there are only 4 examples"):
        make_splits(None, 4, published={}, validation=0.0, test=0.0, seed=0, folds=9)
