"""The loop: chunks end where a callback is due, reading waits for the next dispatch, callbacks may end it."""

import numpy as np
import pytest

from dltrain.durations import Duration
from dltrain.engine.events import After, Every, Replace, StopTraining
from dltrain.engine.loop import Loop, Pace


class Story:
    """A loop over a state that is a number: a chunk adds its steps. `events` records what happened, in order."""

    def __init__(self, *callbacks, pace=None):
        self.events, self.feeds = [], []
        self.loop = Loop(
            chunk=self.chunk,
            feed=lambda step, count: (step, count),
            data="data",
            callbacks=[callback(self.events) for callback in callbacks],
            per_epoch=6,
            pace=pace or Pace(most=4, steps=4, target=1e9),
        )

    def chunk(self, state, data, feed, n):
        assert (data, n) == ("data", feed[1])
        self.feeds.append(feed)
        self.events.append(f"chunk to {feed[0] + n}")
        return state + int(n), {}

    def run(self, total, start=0):
        return self.loop.run(start, start=start, total=total)


def reader(events):
    return lambda event: After(lambda: events.append(f"read {event.step}"))


def looker(events, name="look"):
    return lambda event: events.append(f"{name} {event.step}")


def test_after_is_read_while_the_next_chunk_runs_and_at_the_end():
    story = Story(reader, looker)
    outcome = story.run(10)
    assert story.events == [
        *("chunk to 4", "look 4"),
        *("chunk to 8", "read 4", "look 8"),
        *("chunk to 10", "read 8", "look 10", "read 10"),
    ]
    assert (outcome.state, outcome.step, outcome.reason) == (10, 10, "all steps done")


def test_callback_with_an_interval_runs_after_all_pending_reads():
    def saver(events):
        return Every(Duration(4, ""), looker(events, "save"), per_epoch=6)

    story = Story(reader, saver, pace=Pace(most=2, steps=2, target=1e9))
    story.run(6)
    assert story.events == [
        *("chunk to 2",),
        *("chunk to 4", "read 2", "read 4", "save 4"),
        *("chunk to 6", "read 6", "save 6"),
    ]


@pytest.mark.parametrize("start", [0, 3])
def test_chunks_are_contiguous_and_end_where_a_callback_is_due(start):
    def every(interval):
        return lambda events: Every(Duration.parse(interval), looker(events, interval), per_epoch=6)

    story = Story(every("5"), every("1ep"), every("7"), every("1h"), pace=Pace(most=100, steps=100, target=1e9))
    story.run(18, start=start)
    ends = [end for end in (5, 6, 7, 10, 12, 14, 15, 18) if end > start]
    assert [step + n for step, n in story.feeds] == ends
    assert [step for step, _ in story.feeds] == [start, *ends[:-1]]
    called = [event for event in story.events if not event.startswith("chunk")]
    before = [
        f"{k} {end}" for end in ends[:-1] for k in ("5", "1ep", "7") if end % {"5": 5, "1ep": 6, "7": 7}[k] == 0
    ]
    assert called == [*before, "5 18", "1ep 18", "7 18", "1h 18"]  # at the end all are due


def test_callbacks_run_in_the_order_of_the_list():
    story = Story(lambda e: looker(e, "first"), lambda e: looker(e, "second"))
    story.run(4)
    assert story.events == ["chunk to 4", "first 4", "second 4"]


def test_replace_continues_with_the_new_state_also_for_later_callbacks():
    seen = []
    story = Story(lambda e: lambda event: Replace(1000), lambda e: lambda event: seen.append(event.state))
    outcome = story.run(6)
    assert seen == [1000, 1000]
    assert outcome.state == 1000
    story = Story(lambda e: lambda event: Replace(event.state * 10) if event.step == 4 else None)
    assert story.run(6).state == 42


def test_stop_training_ends_with_its_reason_after_pending_reads():
    def stopper(events):
        def stop(event):
            if event.step == 8:
                raise StopTraining("enough")

        return stop

    story = Story(reader, stopper, looker)
    outcome = story.run(100)
    assert (outcome.state, outcome.step, outcome.reason) == (8, 8, "enough")
    assert story.events == ["chunk to 4", "look 4", "chunk to 8", "read 4", "read 8"]


def test_error_in_a_pending_read_ends_training():
    def failing(events):
        def fail():
            raise RuntimeError("found late")

        return lambda event: After(fail)

    story = Story(failing)
    with pytest.raises(RuntimeError, match="found late"):
        story.run(100)
    assert story.events == ["chunk to 4", "chunk to 8"]


def test_nothing_is_dispatched_when_all_steps_are_done():
    story = Story(reader, looker)
    outcome = story.run(5, start=5)
    assert (story.events, outcome.state, outcome.step) == ([], 5, 5)


def test_pace_approaches_its_target_at_most_fourfold_and_within_bounds():
    pace = Pace(most=100, target=1.0, steps=8)
    pace.update(8, 0.5)
    assert pace.steps == 16
    pace.update(16, 0.001)
    assert pace.steps == 64
    pace.update(64, 0.001)
    assert pace.steps == 100
    pace.update(100, 1e6)
    assert pace.steps == 1
    pace.update(1, 0.0)
    assert pace.steps == 4


def test_number_of_steps_of_a_dispatch_is_an_int32_scalar():
    story = Story()
    kinds = []
    story.loop.chunk = lambda state, data, feed, n: (kinds.append((n.dtype, n.shape)), (state, {}))[1]
    story.run(4)
    assert kinds == [(np.int32, ())]  # another type would compile a second executable
