"""Jobs that differ in numbers only share a program; those that differ in anything else do not."""

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml

from dltrain.composition.compose import compose_words
from dltrain.config.call import Composed
from dltrain.sweep.groups import SweepJob, group_jobs, varied_of, varies_fold

MLP = ("data=digits", "model=mlp", "optim=adamw", "schedule=cosine", "loss=cross_entropy", "schedule.final=0.1")


@cache
def composed() -> Composed:
    return compose_words(*MLP)


def jobs(*varied: str) -> list[SweepJob]:
    """Return a job for each text of overrides, put into a config that is composed once."""
    found = []
    for number, words in enumerate(varied):
        config = copy.deepcopy(dict(composed().config))
        for word in words.split():
            key, _, value = word.partition("=")
            *path, name = key.split(".")
            node = config
            for part in path:
                node[part] = node[part] or {}
                node = node[part]
            node[name] = yaml.safe_load(value)
        one = replace(composed(), config=config)
        found.append(SweepJob(number, (*MLP, *words.split()), Path(str(number)), words, one, Path()))
    return found


def numbers(*varied: str) -> list[list[int]]:
    return [[job.number for job in group] for group in group_jobs(jobs(*varied))]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("seed", (0, 1)),
        ("optim.learning_rate", (0.1, 0.01)),
        ("optim.weight_decay", (0.0, 0.01)),
        ("optim.b1", (0.8, 0.9)),
        ("optim.clip.norm", (1, 2)),
        ("optim.ema", (0.9, 0.99)),
        ("schedule.final", (0.1, 0.2)),
        ("schedule.warmup_epochs", (1, 2)),
        ("loss.label_smoothing", (0.1, 0.2)),
        ("loss.l2", (1e-4, 1e-3)),
        ("model.dropout", (0.1, 0.5)),
    ],
)
def test_jobs_that_differ_in_a_number_share_a_program(key, values):
    found = jobs(*(f"{key}={value}" for value in values))
    assert len(group_jobs(found)) == 1
    state_has_it = key in ("seed", "optim.learning_rate", "optim.weight_decay")
    assert varied_of(found[0]) == (() if state_has_it else (key,))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("model.widths=[8]", "model.widths=[16]"),
        ("batch_size=32", "batch_size=64"),
        ("steps=10", "steps=20"),
        ("model.dropout=0", "model.dropout=0.1"),  # zero is another program
        ("loss.label_smoothing=0", "loss.label_smoothing=0.1"),
        ("optim.clip=null", "optim.clip.norm=1"),
        ("optim.clip.norm=1", "optim.clip.value=1"),
        ("optim.ema=null", "optim.ema=0.9"),
        ("data.fold=0 data.folds=3", "data.fold=1 data.folds=4"),
    ],
)
def test_jobs_that_differ_in_more_have_programs_of_their_own(first, second):
    assert numbers(first, second) == [[0], [1]]


def test_groups_have_all_numbers_that_are_swept_and_no_others():
    swept = jobs("optim.b1=0.8 model.dropout=0.1", "optim.b1=0.9 model.dropout=0.2", "optim.b1=0.9 model.dropout=0")
    assert [[job.number for job in group] for group in group_jobs(swept)] == [[0, 1], [2]]
    assert varied_of(swept[0]) == ("model.dropout", "optim.b1") and varied_of(swept[2]) == ("optim.b1",)


def test_folds_are_grouped_with_seeds_rates_and_numbers():
    fold = "data.folds=3 data.fold={} seed={} model.dropout={}".format
    swept = jobs(fold(0, 0, 0.1), fold(1, 1, 0.2), fold(1, 0, 0.1), fold(1, 0, 0))
    assert [[job.number for job in group] for group in group_jobs(swept)] == [[0, 1, 2], [3]]
    assert varied_of(swept[0]) == ("model.dropout",) and varies_fold(swept[3])


def test_numbers_of_parameter_groups_are_not_shared():
    group = "optim.groups={'head':{'b1':0.5}}"
    assert numbers(f"optim.b1=0.8 {group}", f"optim.b1=0.9 {group}") == [[0], [1]]
