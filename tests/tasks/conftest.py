"""Specs of data for tests of tasks."""

import pytest

from dltrain.types import Feature, Kind, Spec

TARGETS = {
    "label": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c")),
    "yes or no": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes")),
    "pixels": Feature(Kind.CATEGORY, (4, 4), "int32", vocabulary=("ground", "digit")),
    "numbers": Feature(Kind.NUMBERS, (2,), "float32"),
    "steps": Feature(Kind.NUMBERS, (3, 2), "float32"),
    "whole numbers": Feature(Kind.NUMBERS, (2,), "int32"),
    "labels": Feature(Kind.LABELS, (3,), "int32", vocabulary=("red", "round", "new")),
    "text": Feature(Kind.TOKENS, (3,), "int32", vocabulary=tuple("abcd")),
}


@pytest.fixture
def targets():
    """Return the names of all kinds of targets."""
    return set(TARGETS)


@pytest.fixture
def spec_of():
    """Make the spec of images 4x4 with such targets, for a task."""

    def make(target, task=None):
        return Spec({"image": Feature(Kind.IMAGE, (4, 4, 1), "float32")}, {"target": TARGETS[target]}, task)

    return make
