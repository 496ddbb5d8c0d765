"""Early stopping counts evaluations without improvement."""

import pytest
from callback_events import event

from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping
from dltrain.engine.events import StopTraining


def test_early_stopping_needs_more_than_min_delta_and_best_does_not():
    for higher, values in ((True, (1.0, 1.25, 1.5, 1.75)), (False, (1.0, 0.75, 0.5, 0.25))):
        best = Best("validation", "accuracy", higher)
        stopping = EarlyStopping(best, patience=9, min_delta=0.25)
        waited = []
        for value in values:
            here = event(found={"accuracy": value, "loss": 1.0})
            best(here)
            stopping(here)
            waited.append(stopping.waited)
        assert waited == [0, 1, 0, 1]
        assert best.value == values[-1]


def test_early_stopping_counts_only_evaluations_without_improvement():
    best = Best("validation", "accuracy", True)
    stopping = EarlyStopping(best, patience=2)

    def look(value, loss=1.0):
        here = event(found=None if value is None else {"accuracy": value, "loss": loss})
        best(here)
        stopping(here)

    for value in (0.5, 0.4, 0.6, 0.6, None, None):  # worse, better, equal, and two moments without an evaluation
        look(value)
    assert stopping.waited == 1
    with pytest.raises(StopTraining, match="no better validation accuracy in 2 evaluations"):
        look(0.6, loss=0.1)  # the better state of two equal ones, but no improvement
