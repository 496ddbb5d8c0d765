"""The way to split that the config chooses: by which column, and what is refused."""

import numpy as np
import pytest

from dltrain.build.split import split_source
from dltrain.data.split import NAMES, make_splits
from dltrain.errors import ConfigError
from dltrain.tasks import Classification, Regression
from dltrain.types import Feature, Kind, Spec

OWN = {
    **{"validation": 0.2, "test": 0.2, "split": "auto", "split_seed": 0, "folds": None, "fold": 0},
    **{"group": None, "time": None, "split_column": None},
}
CLASSES = Spec({}, {"y": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))}, Classification())
NUMBERS = Spec({}, {"y": Feature(Kind.NUMBERS, (1,), "float32")}, Regression())
LABELS = np.array([0, 0, 0, 1] * 10, np.int32)
VALUES = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
COLUMNS = {
    "who": np.repeat(np.arange(10), 4),
    "when": np.arange(40)[::-1].copy(),
    "part": np.array(["train"] * 30 + ["test"] * 10),
}


class Table:
    published = {}  # noqa: RUF012

    def __len__(self):
        return 40

    def column(self, name):
        return COLUMNS[name]


class Images:
    published = {}  # noqa: RUF012

    def __len__(self):
        return 40


def found(source=None, targets=LABELS, spec=CLASSES, **own):
    return split_source({**OWN, **own}, source or Table(), targets, spec)


def as_sets(splits):
    return [set(splits[name].tolist()) for name in NAMES]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"labels": LABELS}),
        ({"split": "stratified"}, {"labels": LABELS}),
        ({"split": "random"}, {"labels": None}),
        ({"group": "who"}, {"labels": None, "groups": COLUMNS["who"]}),
        ({"split": "group", "group": "who"}, {"labels": None, "groups": COLUMNS["who"]}),
        ({"time": "when"}, {"labels": None, "times": COLUMNS["when"]}),
        ({"split": "time", "time": "when"}, {"labels": None, "times": COLUMNS["when"]}),
        ({"split_column": "part"}, {"labels": LABELS, "published": {"test": np.arange(30, 40)}}),
        ({"split": "random", "group": None}, {"labels": None}),
    ],
)
def test_the_config_chooses_the_way(own, expected):
    labels = expected.pop("labels")
    shared = {"published": {}, "validation": 0.2, "test": 0.2, "seed": 0} | expected
    assert as_sets(found(**own).splits) == as_sets(make_splits(labels, 40, **shared))


def test_numbers_are_split_at_random_unless_asked():
    plain = found(targets=VALUES, spec=NUMBERS).splits
    assert as_sets(plain) == as_sets(make_splits(None, 40, published={}, validation=0.2, test=0.2, seed=0))
    cut = found(targets=VALUES, spec=NUMBERS, split="stratified").splits
    ranks = VALUES[:, 0].argsort().argsort() // 10
    assert np.bincount(ranks[cut.test], minlength=4).tolist() == [2, 2, 2, 2]
    assert as_sets(cut) != as_sets(plain)


def test_a_series_may_use_the_key_time_for_itself():
    assert as_sets(found(Images(), time="date").splits) == as_sets(found(Images()).splits)


@pytest.mark.parametrize(
    ("own", "source", "message"),
    [
        ({"split": "group"}, None, r"data\.split=group: name the column: data\.group=COLUMN"),
        ({"split": "column"}, None, r"data\.split=column: name the column: data\.split_column=COLUMN"),
        ({"group": "who", "time": "when"}, None, r"data\.group=who data\.time=when: choose one way"),
        ({"split": "random", "group": "who"}, None, r"data\.split=random, data\.group=who: choose one way"),
        ({"group": "who"}, Images(), r"data\.group=who: this data has no columns to split by"),
        ({"time": "when", "folds": 3}, None, r"data\.folds=3: folds would train on what comes later"),
        ({"fold": 2}, None, r"data\.fold=2: set data\.folds=5, too"),
        ({"folds": 2, "fold": 2}, None, r"data\.fold=2: folds are numbered from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(own, source, message):
    with pytest.raises(ConfigError, match=message):
        found(source, **own)


def test_only_classes_and_numbers_can_be_stratified():
    spec = Spec({}, {"y": Feature(Kind.TOKENS, (3,), "int32")}, Regression())
    with pytest.raises(ConfigError, match="neither classes nor numbers"):
        found(targets=np.zeros((40, 3), np.int32), spec=spec, split="stratified")
