"""Pruning reports each evaluation with its number, and ends a run for the reason that it is given."""

import pytest
from callback_events import event

from dltrain.callbacks.pruning import Pruning
from dltrain.engine.events import StopTraining


def test_pruning_counts_evaluations_and_ends_the_run_for_a_reason():
    asked = []

    def decide(evaluation, value):
        asked.append((evaluation, value))
        return "behind" if evaluation == 3 else ""

    pruning = Pruning("validation", "accuracy", decide)
    for step, accuracy in ((10, 0.5), (15, None), (20, 0.25)):
        pruning(event(step, found=None if accuracy is None else {"accuracy": accuracy}))
    with pytest.raises(StopTraining, match="behind"):
        pruning(event(30, found={"accuracy": 0.125}))
    assert asked == [(1, 0.5), (2, 0.25), (3, 0.125)]


def test_a_rollback_counts_the_repeated_evaluations_once():
    asked = []
    pruning = Pruning("validation", "loss", lambda evaluation, value: asked.append(evaluation) or "")
    for step in (10, 20, 30, 20, 30):
        pruning(event(step, found={"loss": 1.0}))
    assert asked == [1, 2, 3, 2, 3]


def test_the_last_evaluation_is_reported_and_ends_nothing():
    asked = []
    pruning = Pruning("validation", "loss", lambda evaluation, value: asked.append(evaluation) or "behind")
    pruning(event(100, found={"loss": 1.0}, total=100))
    assert asked == [1]
