"""What callbacks decide: when they are due, which state is best, when training ends."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dltrain.build.callbacks import SKIPS
from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping
from dltrain.callbacks.evaluation import Evaluate
from dltrain.callbacks.nonfinite import NonFiniteGuard
from dltrain.callbacks.stopping import StopBelow
from dltrain.durations import Duration
from dltrain.engine import events as callbacks
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import After, Every, StepLogs, StopTraining, TrainEvent
from dltrain.errors import NonFiniteError


def event(step=10, *, found=None, logs=None, total=100, per_epoch=10):
    """A event; `found` are the scalars of an evaluation of the validation split."""
    results = {} if found is None else {"validation": Evaluation(found, {}, np.zeros(0, int), np.zeros(0))}
    return TrainEvent(step, total, per_epoch, "state", logs, results)


def accuracies(best, *values, loss=1.0):
    """Show these accuracies one after the other at steps 10, 20, ...; return which improved."""
    improved = []
    for number, value in enumerate(values, 1):
        best(event(10 * number, found={"accuracy": value, "loss": loss}))
        improved.append(best.improved)
    return improved


def test_best_follows_the_wanted_direction():
    higher, lower = Best("validation", "accuracy", True), Best("validation", "accuracy", False)
    assert accuracies(higher, 0.5, 0.4, 0.6, 0.6) == [True, False, True, False]
    assert accuracies(lower, 0.5, 0.4, 0.6, 0.4) == [True, True, False, False]
    assert (higher.value, higher.step, lower.value, lower.step) == (0.6, 30, 0.4, 20)


def test_the_first_finite_value_is_best_however_bad_and_nan_never_is():
    best = Best("validation", "accuracy", True)
    assert accuracies(best, np.nan, -7.0, np.nan, np.inf) == [False, True, False, False]
    assert (best.value, best.step) == (-7.0, 20)


def test_among_equal_values_the_smaller_loss_is_best_but_early_stopping_does_not_wait_for_it():
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


def test_early_stopping_wants_more_than_min_delta_in_either_direction_and_best_does_not():
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


def test_a_moment_without_the_evaluation_is_no_improvement():
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


def test_early_stopping_counts_evaluations_without_improvement_and_only_those():
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


def every(interval, per_epoch=10, **options):
    return Every(Duration.parse(interval), lambda event: "called", per_epoch=per_epoch, **options)


@pytest.mark.parametrize(
    ("interval", "per_epoch", "due"),
    [
        (7, 10, [7, 14, 21]),
        ("1ep", 10, [10, 20]),
        ("0.5ep", 9, [4, 8, 12, 16, 20, 24]),
        ("0.01ep", 10, range(1, 25)),
    ],
)
def test_every_is_due_by_steps_and_epochs_and_knows_when_next(interval, per_epoch, due):
    timed = every(interval, per_epoch)
    assert [s for s in range(1, 25) if timed.is_due(event(s))] == list(due)
    assert [timed.next(s) for s in range(24) if s + 1 in due] == list(due)
    assert timed.next(due[0]) == due[1]


def test_every_is_due_at_the_end_unless_told_otherwise():
    assert every(7).is_due(event(100))
    assert every("2h").is_due(event(100))
    assert not every(7, at_end=False).is_due(event(100))


def test_every_by_time_counts_from_its_last_call(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now))
    timed = every("2min")
    due = []
    for now in (1000.0, 1119.0, 1121.0, 1200.0, 1240.0, 1242.0):  # noqa: B007 - the clock reads it
        due.append(timed.is_due(event()))
        if due[-1]:
            assert timed(event()) == "called"
    assert due == [False, False, True, False, False, True]
    assert timed.next(5) is None


def test_every_passes_memory_through():
    best = Best("validation", "accuracy", True)
    accuracies(best, 0.5)
    other = Best("validation", "accuracy", True)
    Every(Duration(1, ""), other, per_epoch=1).restore(Every(Duration(1, ""), best, per_epoch=1).state())
    assert other.value == 0.5
    assert every(3).state() is None


def chunk_logs(first, finite):
    """Logs of a chunk with room for 16 steps, as far as `finite` says something."""
    count = len(finite)
    arrays = {name: np.zeros(16, np.float32) for name in ("finite", "loss", "gradient_norm")}
    arrays["finite"][:count] = finite
    arrays["loss"][:count] = np.where(finite, 0.5, np.nan)
    return event(first + count - 1, logs=StepLogs(first, count, arrays))


def test_logs_are_cut_to_the_steps_that_were_done():
    assert {len(v) for v in chunk_logs(5, [1, 1, 1]).logs.values.values()} == {3}


def test_a_loss_that_is_not_finite_ends_the_run_naming_its_step_but_only_once_it_is_read():
    watch = NonFiniteGuard()
    watch(chunk_logs(1, [1, 1])).read()
    seen = watch(chunk_logs(3, [1, 0, 1]))
    assert isinstance(seen, After)
    with pytest.raises(NonFiniteError, match="loss nan, gradient norm 0 at step 4") as raised:
        seen.read()
    assert raised.value.step == 4


def test_skipped_steps_are_recorded_and_end_the_run_when_ten_follow_each_other():
    watch = NonFiniteGuard(limit=SKIPS)
    watch(chunk_logs(1, [0] * 9 + [1] + [0] * 4)).read()  # nine, and four more after a good one
    watch(chunk_logs(15, [0] * 5)).read()  # nine again, across two chunks
    assert watch.skipped == [*range(1, 10), *range(11, 20)]
    resumed = NonFiniteGuard(limit=SKIPS)
    resumed.restore(json.loads(json.dumps(watch.state())))
    with pytest.raises(NonFiniteError, match="step 20, the 10th in a row"):
        resumed(chunk_logs(20, [0])).read()
    watch(chunk_logs(20, [1, 0])).read()


def test_evaluate_leaves_what_it_found_to_those_after_it():
    here = event()
    Evaluate(lambda state, split: f"{split} of {state}", ("validation", "train"))(here)
    assert here.results == {"validation": "validation of state", "train": "train of state"}
    assert here.epoch == 1.0


def test_stop_below_ends_training_at_the_loss():
    stop = StopBelow(0.5)
    stop(event())
    stop(event(found={"loss": 0.5}))
    with pytest.raises(StopTraining, match=r"validation loss is below 0\.5"):
        stop(event(found={"loss": 0.49}))
