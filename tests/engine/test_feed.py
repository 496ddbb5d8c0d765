"""A chunk is given row numbers; a padding row is masked, whatever stands in its place."""

import numpy as np

from dltrain.data.pipeline import PADDING
from dltrain.engine.feed import gather, place


def test_rows_come_in_the_order_asked_for_and_padding_is_masked():
    arrays = {"inputs": np.arange(30, dtype=np.uint8).reshape(10, 3), "targets": np.arange(10, dtype=np.int32)}
    batch = gather(place(arrays), np.array([7, 0, 9, PADDING, 7], np.int32))
    assert batch["mask"].tolist() == [True, True, True, False, True]
    valid = np.asarray(batch["mask"])
    np.testing.assert_array_equal(np.asarray(batch["targets"])[valid], [7, 0, 9, 7])
    np.testing.assert_array_equal(np.asarray(batch["inputs"])[valid], arrays["inputs"][[7, 0, 9, 7]])
    assert batch["inputs"].dtype == np.uint8  # cast in the graph: a quarter of the memory


def test_a_feed_is_as_long_as_the_executable_expects_and_padding_beyond_its_count(program):
    feed = program.feed(4, 3)
    assert feed.shape == (program.capacity, 8)
    assert feed.dtype == np.int32
    np.testing.assert_array_equal(feed[:3], program.parts.pipeline.indices(4, 3))
    assert (feed[3:] == PADDING).all()
