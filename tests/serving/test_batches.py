"""Batches: requests are answered together, each with its own rows, and one that fails alone."""

import threading
import time

import numpy as np
import pytest

from dltrain.serving.batches import Batches, Work, sizes_up_to
from dltrain.serving.metrics import Metrics


class Program:
    """Doubles numbers, and notes the sizes of its batches; while `held` is set, it waits."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.padded: list[int] = []
        self.held, self.running = threading.Event(), threading.Event()
        self.held.set()

    def __call__(self, arrays, mask):
        self.running.set()
        self.held.wait()
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        self.rows.append(int(mask.sum()))
        self.padded.append(len(mask))
        assert mask[: mask.sum()].all() and len(arrays["x"]) == len(mask)
        return {"y": arrays["x"] * 2, "row": np.arange(len(mask))}


class Queue:
    """Batches with such a program, and what they delivered."""

    def __init__(self, *, largest: int = 16, delay: float = 0.0) -> None:
        self.program, self.metrics, self.delivered = Program(), Metrics(), {}
        compiled = dict.fromkeys(sizes_up_to(largest), self.program)
        self.batches = Batches(compiled, self._deliver, metrics=self.metrics, delay=delay)

    def _deliver(self, answers) -> None:
        self.delivered |= {work.answer: result for work, result in answers}

    def submit(self, name, *values, deadline: float = 60.0) -> Work:
        work = Work({"x": np.array(values, float)}, name, time.monotonic() + deadline)
        self.batches.submit(work)
        return work

    def hold(self) -> None:
        """Let the thread wait inside a batch, so that further requests wait in the queue."""
        self.program.held.clear()
        self.program.running.clear()
        self.submit("first", 1)
        assert self.program.running.wait(10)

    def finish(self) -> dict:
        self.program.held.set()
        self.batches.close()
        return self.delivered


@pytest.mark.parametrize(("largest", "sizes"), [(1, (1,)), (4, (1, 4)), (5, (1, 4, 5)), (256, (1, 4, 16, 64, 256))])
def test_sizes(largest, sizes):
    assert sizes_up_to(largest) == sizes


def test_what_waits_is_answered_together_in_fixed_sizes():
    queue = Queue()
    queue.hold()
    given = {i: np.arange(i, i + 1 + i % 3) for i in range(8)}
    for name, values in given.items():
        queue.submit(name, *values)
    found = queue.finish()
    assert all(np.array_equal(found[name]["y"], 2 * values) for name, values in given.items())
    assert queue.program.rows == [1, 15] and queue.program.padded == [1, 16]


def test_nothing_waits_for_more_unless_a_delay_is_set():
    for delay, rows in ((0.0, [1, 1]), (60.0, [2, 2])):
        queue = Queue(largest=2, delay=delay)
        for i in range(4 if delay else 2):
            queue.submit(i, i)
            while not delay and i not in queue.delivered:
                time.sleep(0.001)
        queue.finish()
        assert queue.program.rows == rows


def test_a_request_larger_than_a_batch_is_divided_and_put_together():
    queue = Queue(largest=4)
    queue.hold()
    queue.submit("large", *range(11))
    queue.submit("small", 7)
    found = queue.finish()
    assert np.array_equal(found["large"]["y"], 2.0 * np.arange(11)) and found["small"]["y"] == [14]
    assert queue.program.rows == [1, 4, 4, 3, 1]


def test_a_request_that_fails_does_not_affect_the_others():
    queue = Queue()
    queue.hold()
    for name, value in (("a", 1), ("bad", -1), ("b", 2)):
        queue.submit(name, value)
    found = queue.finish()
    assert found["a"]["y"] == [2] and found["b"]["y"] == [4] and isinstance(found["bad"], ValueError)


def test_requests_nobody_waits_for_are_not_run():
    queue = Queue()
    queue.hold()
    queue.submit("left", 5).dropped = True
    queue.submit("late", 6, deadline=-1.0)
    queue.submit("here", 7)
    found = queue.finish()
    assert set(found) == {"first", "here"} and queue.program.rows == [1, 1]


def test_closing_answers_what_waits():
    queue = Queue(delay=60.0)
    for i in range(40):
        queue.submit(i, i)
    assert set(queue.finish()) == set(range(40))


def test_batches_are_counted():
    queue = Queue()
    queue.hold()
    queue.submit("a", 1, 2, 3)
    queue.finish()
    lines = queue.metrics.text().splitlines()
    for line in (
        "dltrain_rows_total 4",
        "dltrain_batch_rows_sum 4",
        "dltrain_batch_size_sum 5",
        'dltrain_batch_size_bucket{le="4"} 2',
    ):
        assert line in lines
