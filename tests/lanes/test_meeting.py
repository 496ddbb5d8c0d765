"""Loops in several threads meet: their chunks are computed as one; a lane that leaves holds up no other."""

import threading

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.lanes.meeting import Meeting


class Counting:
    """A chunk that adds the number of steps to each state, and notes how it was called."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, states, data, given, counts):
        self.calls.append(counts.tolist())
        if len(self.calls) == 99:
            raise ValueError("broken")
        self.given = [float(one[0]) for one in given]
        return tuple(s + int(n) for s, n in zip(states, counts, strict=True)), {"loss": np.array(counts)[:, None]}


def run(meeting, lengths, found, given=None):
    """Run one loop per lane, each with its list of chunks."""

    def loop(number):
        lane, state = meeting.lane(number), jnp.int32(100 * number)
        for n in lengths[number]:
            state, logs = lane(state, None, np.zeros(1) if given is None else given[number], np.int32(n))
            assert logs["loss"].tolist() == [n]
        lane.close()
        found[number] = int(state)

    threads = [threading.Thread(target=loop, args=(number,), daemon=True) for number in range(len(lengths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_lanes_are_computed_together_and_those_that_have_left_do_no_steps():
    chunk, found = Counting(), {}
    run(Meeting(chunk, {}, 3, steps=8), [[5, 5, 5], [5], [5, 2]], found)
    assert found == {0: 15, 1: 105, 2: 207}
    assert chunk.calls == [[5, 5, 5], [5, 0, 2], [5, 0, 0]]


def test_batches_that_differ_are_given_to_each_lane():
    chunk = Counting()
    run(Meeting(chunk, {}, 2, steps=8), [[1], [1]], {}, given=[np.zeros(2), np.ones(2)])
    assert chunk.given == [0, 1]


def test_an_error_of_the_program_reaches_every_lane():
    chunk, errors = Counting(), []
    chunk.calls = [[]] * 98
    meeting = Meeting(chunk, {}, 2, steps=8)

    def loop(number):
        try:
            meeting.lane(number)(jnp.int32(0), None, np.zeros(1), np.int32(1))
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=loop, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == ["broken", "broken"]


def test_the_pace_of_lanes_does_not_follow_the_time():
    pace = Meeting(Counting(), {}, 2, steps=12).lane(0).make_pace()
    pace.update(12, 1e-6)
    pace.update(12, 1e6)
    assert pace.steps == 12


@pytest.mark.parametrize("count", [1, 4])
def test_a_lane_that_never_trains_holds_up_nobody(count):
    chunk, found = Counting(), {}
    meeting = Meeting(chunk, {}, count + 1, steps=8)
    meeting.leave(count)
    run(meeting, [[3]] * count, found)
    assert found == {number: 100 * number + 3 for number in range(count)}


def test_a_copy_stands_in_for_a_lane_that_is_not_training():
    calls = []

    def chunk(states, data, given, counts):
        calls.append((data["number"], [int(state) for state in states], counts.tolist()))
        return tuple(s + int(n) for s, n in zip(states, counts, strict=True)), {"loss": np.array(counts)[:, None]}

    meeting = Meeting(chunk, {"number": 1}, 2, steps=8)
    meeting.leave(1)
    state, _ = meeting.lane(0)(jnp.int32(7), None, np.zeros(1), np.int32(5))
    assert int(state) == 12
    assert calls == [(1, [7, 7], [5, 0])]


def test_lanes_of_two_meetings_do_not_wait_for_each_other():
    chunks, found = (Counting(), Counting()), {}
    first, second = (Meeting(chunk, {}, 2, steps=8) for chunk in chunks)
    run(first, [[5], [5]], found)  # while no lane of the second one has asked for anything
    assert found == {0: 5, 1: 105}
    assert chunks[1].calls == []
    run(second, [[2, 2], [2]], found)
    assert chunks[1].calls == [[2, 2], [2, 0]]
