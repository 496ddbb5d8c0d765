"""The best value follows its direction; ties are decided by the loss."""

import json

import numpy as np
from callback_events import accuracies, event

from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping


def test_best_follows_the_direction_of_the_metric():
    higher, lower = Best("validation", "accuracy", True), Best("validation", "accuracy", False)
    assert accuracies(higher, 0.5, 0.4, 0.6, 0.6) == [True, False, True, False]
    assert accuracies(lower, 0.5, 0.4, 0.6, 0.4) == [True, True, False, False]
    assert (higher.value, higher.step, lower.value, lower.step) == (0.6, 30, 0.4, 20)


def test_first_finite_value_is_best_and_nan_never_is():
    best = Best("validation", "accuracy", True)
    assert accuracies(best, np.nan, -7.0, np.nan, np.inf) == [False, True, False, False]
    assert (best.value, best.step) == (-7.0, 20)


def test_smaller_loss_decides_ties_of_best_but_not_of_early_stopping():
    best = Best("validation", "accuracy", True)
    stopping = EarlyStopping(best, patience=9)
    seen = []
    for step, loss in ((1, 0.5), (2, 0.6), (3, 0.4), (4, 0.4)):
        here = event(step, found={"accuracy": 0.9, "loss": loss})
        best(here)
        stopping(here)
        seen.append((best.improved, stopping.waited))
    assert seen == [(True, 0), (False, 1), (True, 2), (False, 3)]
    assert (best.step, best.loss) == (3, 0.4)


def test_event_without_the_evaluation_is_not_an_improvement():
    best = Best("validation", "accuracy", True)
    accuracies(best, 0.5)
    best(event())
    assert (best.improved, best.step) == (False, 10)


def test_best_and_early_stopping_continue_from_their_json():
    best = Best("validation", "accuracy", True)
    stopping = EarlyStopping(best, patience=3)
    for value in (0.8, 0.7):
        accuracies(best, value)
        stopping(event(found={"accuracy": value}))
    again = Best("validation", "accuracy", True)
    stopping_again = EarlyStopping(again, patience=3)
    again.restore(json.loads(json.dumps(best.state(), allow_nan=False)))
    stopping_again.restore(json.loads(json.dumps(stopping.state())))
    assert again == best
    assert (stopping_again.waited, stopping_again.value) == (1, 0.8)
    assert accuracies(again, 0.75) == [False]
    json.dumps(Best("validation", "accuracy", True).state(), allow_nan=False)  # before the first evaluation, too
