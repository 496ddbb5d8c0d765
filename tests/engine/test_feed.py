"""A chunk receives example indices, or batches read ahead: the same batches, and never a silent stall."""

import threading
import time
import weakref

import numpy as np
import pytest

from dltrain.data.order import PADDING
from dltrain.engine.feed import ReadAhead, Resident, Streamed
from dltrain.errors import DataError, WorkerError


def test_examples_have_the_given_order_and_padding_is_masked(make_parts):
    source = make_parts().source
    rows = np.array([[7, 0, 9, PADDING, 7]], np.int32)
    for feed in (Resident(source.read(np.arange(60))), Streamed(source)):
        batch = feed.pick(feed.data, feed.load(rows, 3), 0)
        assert np.asarray(batch["mask"]).tolist() == [True, True, True, False, True]
        valid = np.asarray(batch["mask"])
        for name, value in source.read(np.array([7, 0, 9, 7])).items():
            np.testing.assert_array_equal(np.asarray(batch[name])[valid], value)
            assert batch[name].dtype == value.dtype


def test_inputs_are_padded_to_the_length_of_the_executable(program):
    feed, _ = program.feed_chunk(4, 3)
    assert feed.shape == (program.capacity, 8)
    assert feed.dtype == np.int32
    np.testing.assert_array_equal(feed[:3], program.parts.pipeline.indices(4, 3))
    assert (feed[3:] == PADDING).all()


def test_streamed_and_resident_data_have_the_same_metrics(program, make_program):
    streamed, state = make_program(arrays=None), program.start()
    assert streamed.evaluate(state, "train").scalars == program.evaluate(state, "train").scalars
    assert streamed.evaluator.compilations == 1
    streamed.close()


def slow(seconds):
    """Return a reader that records how many batches were read beyond those taken."""
    lock, seen = threading.Lock(), []

    def read(step):
        time.sleep(seconds * (step % 3))
        with lock:
            seen.append(step)
        return {"step": np.array([step])}

    return read, seen


def test_threads_return_batches_in_order_and_do_not_read_further():
    read, seen = slow(0.002)
    ahead = ReadAhead(read, ahead=5, threads=4, read_timeout=10)
    taken = []
    for step, count in ((0, 3), (3, 1), (4, 9), (40, 2)):  # the last as after a resume
        taken += [int(batch["step"][0]) for batch in ahead.take(step, count)]
        time.sleep(0.02)
        assert max(seen) < step + count + 5
    assert taken == [*range(13), 40, 41]
    assert ahead.waited > 0
    ahead.close()


class Counted(dict):
    """A batch that counts how many exist at once."""


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_memory_holds_only_the_batches_read_ahead(ahead):
    references, most, lock = [], [], threading.Lock()

    def read(step):
        batch = Counted(step=step)
        with lock:
            references.append(weakref.ref(batch))
            most.append(sum(reference() is not None for reference in references))
        return batch

    reader = ReadAhead(read, ahead=ahead, threads=4, read_timeout=10)
    for step in range(40):
        (batch,) = reader.take(step, 1)
        assert batch["step"] == step
        del batch
        time.sleep(0.002)  # training: the threads have time to read too much
    reader.close()
    assert max(most) <= ahead
    assert len(references) >= 40


def test_failing_source_is_an_error_with_its_step():
    def read(step):
        if step == 2:
            raise OSError("the disk is gone")
        return {}

    ahead = ReadAhead(read, ahead=4, threads=2, read_timeout=10)
    assert len(ahead.take(0, 2)) == 2
    with pytest.raises(DataError, match="batch of step 3 failed: the disk is gone"):
        ahead.take(2, 1)
    ahead.close()


def test_a_thread_that_dies_ends_the_run_at_once():
    def read(step):
        raise SystemExit(3)

    ahead = ReadAhead(read, ahead=2, threads=1, read_timeout=60)
    with pytest.raises(WorkerError, match=r"thread that read the batch of step 1 died: SystemExit\(3\)"):
        ahead.take(0, 1)
    ahead.close()


def test_stalled_source_is_an_error():
    gate = threading.Event()
    ahead = ReadAhead(lambda step: gate.wait() and {}, ahead=2, threads=1, read_timeout=0.05)
    with pytest.raises(WorkerError, match=r"not read within 0.05 s \(data.timeout\)"):
        ahead.take(0, 1)
    gate.set()
    ahead.close()


class ThisHalf:
    """The sharding of a process that has the second half of each batch."""

    is_fully_addressable = False

    def addressable_devices_indices_map(self, shape):
        return {"device": (slice(None),) * (len(shape) - 1) + (slice(shape[-1] // 2, None),)}


def test_a_process_reads_only_its_own_examples():
    asked = []

    class Source:
        def read(self, indices):
            asked.append(list(indices))
            return {"inputs": np.asarray(indices, np.float32)[:, None]}

    feed = Streamed(Source(), ThisHalf())
    asked.clear()
    batch = feed.read(np.array([7, 3, 5, -1], np.int32))
    assert asked == [[5, 0]]
    assert batch["mask"].tolist() == [True, True, True, False]  # of all processes: each counts the examples alone
