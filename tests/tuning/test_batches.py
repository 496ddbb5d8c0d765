"""Batch sizes: which are tried, when the search ends, and which is recommended."""

import itertools
from types import SimpleNamespace

import jax
import pytest

from dltrain.devices import memory
from dltrain.errors import ConfigError, MemoryExhausted
from dltrain.tuning import batches
from dltrain.tuning.batches import WINDOWS, Measured, measure, measure_sizes, recommend, sizes, still_grows


def measured(*speeds: float) -> list[Measured]:
    """Return sizes 8, 16, 32, ... with these examples per second."""
    return [Measured(8 * 2**i, speed / 8 / 2**i, speed, 100 * 2**i) for i, speed in enumerate(speeds)]


@pytest.mark.parametrize(
    ("speeds", "size"), [((1, 2, 4), 32), ((94, 95, 100), 16), ((100, 50, 99), 8), ((50, 100, 70), 16), ((), None)]
)
def test_the_smallest_size_with_95_percent_of_the_best_speed_is_recommended(speeds, size):
    assert recommend(measured(*speeds)) == size


@pytest.mark.parametrize(
    ("speeds", "grows"),
    [
        ((1,), True),
        ((2, 1), True),
        ((10, 10.4, 10.4), False),
        ((10, 9, 10.6), True),
        ((10, 10.6, 9), True),
        ((10, 20, 19, 20.9), False),
    ],
)
def test_the_search_ends_after_two_sizes_that_are_no_faster(speeds, grows):
    assert still_grows(measured(*speeds)) is grows


@pytest.mark.parametrize(
    ("smallest", "largest", "accumulate", "expected"),
    [
        (8, None, 1, [8, 16, 32]),
        (8, 31, 1, [8, 16]),
        (1, 4, 1, [1, 2, 4]),
        (8, None, 3, [9, 18, 36]),
        (43, None, 1, [43]),
    ],
)
def test_sizes_double_up_to_the_training_set(make_parts, smallest, largest, accumulate, expected):
    parts = make_parts(accumulate=accumulate)
    assert len(parts.pipeline.examples) == 43
    assert sizes(parts, smallest=smallest, largest=largest) == expected


@pytest.mark.parametrize(
    ("smallest", "largest", "limit"),
    [(44, None, "43 training examples"), (16, 8, "largest=8"), (64, 99, "43 train")],
)
def test_a_range_without_a_size_is_refused(make_parts, smallest, largest, limit):
    with pytest.raises(ConfigError, match=limit):
        sizes(make_parts(), smallest=smallest, largest=largest)


@pytest.fixture
def fake(monkeypatch):
    """Measure nothing: a batch of n examples trains at a speed of `speed(n)`, and up to `fits` examples fit."""

    def plant(speed, fits=10**9):
        def measure(parts, plan, size, *, seconds, stop):
            del parts, plan, seconds
            if size > fits:
                raise MemoryExhausted("training needs 9.0 GiB")
            return None if stop() else Measured(size, speed(size) / size, speed(size), size)

        monkeypatch.setattr(batches, "measure", measure)

    return plant


def found_sizes(result):
    return [one.batch_size for one in result.found]


def test_the_search_ends_where_memory_the_data_or_the_speed_does(fake, make_parts, program):
    parts = make_parts()
    fake(lambda size: size)
    result = measure_sizes(parts, program.plan, smallest=4)
    assert found_sizes(result) == [4, 8, 16, 32] and result.reason == "there are 43 training examples"
    assert measure_sizes(parts, program.plan, largest=20).reason == "largest=20"
    fake(lambda size: size, fits=16)
    result = measure_sizes(parts, program.plan)
    assert found_sizes(result) == [8, 16] and "32 does not fit: training needs 9.0 GiB" in result.reason
    fake(lambda size: 100)
    result = measure_sizes(parts, program.plan, smallest=1)
    assert found_sizes(result) == [1, 2, 4] and result.recommended == 1 and "no faster" in result.reason


def test_what_was_measured_before_a_stop_is_returned(fake, make_parts, program):
    fake(lambda size: size)
    asked = iter([False, False, True])
    result = measure_sizes(make_parts(), program.plan, stop=lambda: next(asked))
    assert found_sizes(result) == [8, 16] and result.stopped and result.recommended == 16


@pytest.mark.usefixtures("unoptimised")
def test_a_size_is_measured_without_its_padding(make_parts, program, monkeypatch):
    parts = make_parts()
    monkeypatch.setattr(batches, "perf_counter", itertools.count().__next__)  # so each window is two steps in 1 s
    one = measure(parts, program.plan, 32, seconds=0.01)
    assert one.batch_size == 32 and one.memory > 0
    # 43 examples are two batches: 32, and 11 of which the rest is padding
    assert (one.steps, one.examples) == (2, 43)
    assert one.memory > memory.size(program.shapes) + 32 * 16 * 4  # the state, and a batch


def test_a_stop_ends_a_measurement(make_parts, program, monkeypatch):
    begun = []
    monkeypatch.setattr(batches, "compile_training", lambda program: begun.append(program) or 1)
    monkeypatch.setattr(batches, "_windows", lambda program, seconds: iter([(1.0, 1.0)] * WINDOWS))
    assert measure(make_parts(), program.plan, 4, seconds=0.01, stop=lambda: True) is None and not begun
    answers = iter([False, False, True])  # before it begins, after the first window, after the second
    assert measure(make_parts(), program.plan, 4, seconds=0.01, stop=lambda: next(answers)) is None and begun


def test_the_fastest_window_counts(make_parts, program, monkeypatch):
    monkeypatch.setattr(batches, "compile_training", lambda program: 1)
    speeds = [(2.0, 8.0), (5.0, 19.0), (3.0, 12.0), (4.0, 16.0), (1.0, 4.0)]
    monkeypatch.setattr(batches, "_windows", lambda program, seconds: iter(speeds))
    one = measure(make_parts(), program.plan, 4, seconds=0.01)
    assert (one.steps, one.examples, one.memory) == (5, 19, 1)


@pytest.mark.parametrize(("ahead", "step"), [(object(), 41), (None, 1)])
def test_batches_that_were_read_before_a_measurement_are_used_up_first(monkeypatch, ahead, step):
    begun = []

    class Counted:
        """A training that only counts its steps."""

        def __init__(self, program, state):
            self.step = 0

        def run(self, length, chunks=1):
            begun.append((self.step, chunks))
            self.step += length * chunks
            return 1.0, 1.0

    monkeypatch.setattr(batches, "_Training", Counted)
    monkeypatch.setattr(batches, "_chunk_of", lambda training, wanted: (4, 0.01))
    program = SimpleNamespace(ahead=ahead, capacity=40, start=lambda: None)
    next(batches._windows(program, 1.0))
    assert begun[-1] == (step, 20)  # of 0.01 seconds in a fifth of a second


def test_an_allocation_that_fails_on_the_device_is_a_size_that_does_not_fit(make_parts, program, monkeypatch):
    monkeypatch.setattr(batches, "compile_training", lambda program: 1)

    def fail(program, seconds):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")

    monkeypatch.setattr(batches, "_windows", fail)
    with pytest.raises(MemoryExhausted, match=r"^RESOURCE_EXHAUSTED: Out of memory$"):
        measure(make_parts(), program.plan, 4, seconds=0.01)
