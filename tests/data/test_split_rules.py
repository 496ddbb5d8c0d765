"""Splits by group, by time, by a column and by quantile: each is a partition that keeps what it promises."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dltrain.data.by_column import groups_of, splits_of, times_of
from dltrain.data.draws import quantiles
from dltrain.data.split import NAMES, make_splits
from dltrain.errors import DataError

WAYS = ("random", "stratified", "group", "time", "folds", "group folds")


def split(way, values, *, validation=0.2, test=0.2, seed=0, published=None):
    given_by = {
        "stratified": {"labels": values},
        "group": {"groups": values},
        "time": {"times": values},
        "folds": {"labels": values, "folds": 3},
        "group folds": {"groups": values, "folds": 3},
    }.get(way, {})
    labels = given_by.pop("labels", None)
    shared = {"published": published or {}, "validation": validation, "test": test, "seed": seed}
    return make_splits(labels, len(values), **shared, **given_by)


@settings(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(WAYS),
    values=st.lists(st.integers(0, 30), min_size=12, max_size=120),
    validation=st.sampled_from([0.0, 0.1, 0.4]),
    test=st.sampled_from([0.0, 0.2, 0.5]),
    seed=st.integers(0, 5),
    fixed=st.sampled_from([(), (0, 3), (1,)]),
)
def test_any_split_is_a_partition(way, values, validation, test, seed, fixed):
    values = np.array(values)
    published = {"test": np.array(fixed)} if fixed else {}
    try:
        found = split(way, values, validation=validation, test=test, seed=seed, published=published)
    except DataError as error:
        assert "leaves no example" in str(error) or "is left for training" in str(error) or "groups" in str(error)
        return
    together = np.concatenate([found[name] for name in NAMES])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(values)))
    for name in NAMES:
        assert (np.diff(found[name]) > 0).all()
    if fixed:
        np.testing.assert_array_equal(found.test, fixed)
    elif way in ("group", "group folds"):
        groups = [set(values[found[name]].tolist()) for name in NAMES]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    elif way == "time":
        border = [values[found[name]] for name in NAMES if len(found[name])]
        for before, after in itertools.pairwise(border):
            assert before.max() < after.min()


def test_groups_have_about_the_asked_size_and_depend_on_the_seed():
    groups = np.repeat(np.arange(40), 5)
    sizes = {len(split("group", groups, seed=seed).test) for seed in range(5)}
    assert sizes == {40}
    assert len({tuple(split("group", groups, seed=seed).test) for seed in range(5)}) > 1


def test_a_group_that_is_too_large_stays_in_train():
    groups = np.array([0] * 80 + list(range(1, 21)))
    for seed in range(5):
        found = split("group", groups, seed=seed, test=0.1, validation=0.05)
        assert set(range(80)) <= set(found.train.tolist())


def test_folds_of_groups_cover_every_example_once():
    groups = np.repeat(np.arange(10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    shared = {"published": {}, "validation": 0.1, "test": 0.0, "seed": 0, "folds": 4, "groups": groups}
    held = [make_splits(None, len(groups), fold=fold, **shared).validation for fold in range(4)]
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.arange(len(groups)))
    assert max(map(len, held)) - min(map(len, held)) <= 3


def test_quantiles_are_of_equal_size_and_keep_equal_numbers_together():
    values = np.random.default_rng(0).normal(size=200)
    classes = quantiles(values)
    assert np.bincount(classes).tolist() == [20] * 10
    assert values[classes == 0].max() < values[classes == 1].min()
    assert len(set(quantiles(np.array([1.0] * 150 + [2.0] * 50)).tolist())) == 2
    assert set(quantiles(np.arange(3.0)).tolist()) == {0}


def test_a_split_by_quantile_has_each_part_of_the_numbers():
    values = np.random.default_rng(0).exponential(size=1000)
    found = split("stratified", quantiles(values), test=0.1)
    for low, high in ((0, 10), (45, 55), (90, 100)):
        inside = (values >= np.percentile(values, low)) & (values <= np.percentile(values, high))
        assert inside[found.test].mean() == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, 1, 2]),
        np.array(["2024-03-01", "2023-12-31", "2024-01-15"], dtype=object),
        np.array(["2024-03-01 10:00:00", "2024-03-01 08:00:00", "2024-03-01 09:30:00"]),
        np.array(["2024-03-01", "2023-12-31", "2024-01-15"], dtype="datetime64[ms]"),
        np.array(["10", "8", "9"], dtype=object),
    ],
)
def test_times_rise_with_time(values):
    assert np.argsort(times_of(values, "when")).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.0, np.nan, 2.0]), r"data\.time=when: 1 values are missing, the first in example 1;"),
        (
            np.array(["2024-01-01", "soon"], dtype=object),
            r"data\.time=when: is neither a number nor a date.*'soon'",
        ),
        (np.array(["2024-01-01", None], dtype=object), r"data\.time=when: 1 values are missing, the first in"),
    ],
)
def test_what_is_no_time_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        times_of(values, "when")


def test_a_column_names_the_splits():
    named = np.array(["Train", "VAL", "test", "training", "dev ", "holdout"], dtype=object)
    found = splits_of(named, "part")
    assert {name: indices.tolist() for name, indices in found.items()} == {"validation": [1, 4], "test": [2, 5]}
    assert splits_of(np.array(["train", "train"]), "part") == {}
    with pytest.raises(DataError, match=r"data\.split_column=part: example 1 has 'tset'"):
        splits_of(np.array(["train", "tset"]), "part")
    with pytest.raises(DataError, match="example 0 has nothing"):
        splits_of(np.array([None, "test"], dtype=object), "part")


def test_missing_groups_are_one_group():
    assert len(set(groups_of(np.array(["a", None, "b", None, "a"], dtype=object)).tolist())) == 3
    assert len(set(groups_of(np.array([1.0, np.nan, np.nan, 2.0])).tolist())) == 3
