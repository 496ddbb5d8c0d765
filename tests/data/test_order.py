"""The order of the data is a function of (seed, step), and each epoch is a permutation."""

import numpy as np
import pytest

from dltrain.data.order import PADDING, RUN, Pipeline, in_order, in_runs, streams

ROWS = np.array([3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377], np.int32)  # 11 examples: batches of 4, 4 and 3


def pipeline(**changes):
    return Pipeline(**{"examples": ROWS, "batch_size": 4, "seed": 0, **changes})


def epochs(pipe, count):
    per_epoch = pipe.steps_per_epoch
    return [pipe.indices(e * per_epoch, per_epoch).reshape(-1) for e in range(count)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_epoch_has_every_example_once_and_padding_at_its_end_only(shuffle):
    for epoch in epochs(pipeline(shuffle=shuffle), 5):
        np.testing.assert_array_equal(np.sort(epoch[:11]), ROWS)
        assert epoch[11:].tolist() == [PADDING]


def test_epochs_and_seeds_differ_and_without_shuffling_nothing_does():
    orders = {tuple(order) for seed in (0, 1) for order in epochs(pipeline(seed=seed), 4)}
    assert len(orders) == 8
    assert {tuple(order) for order in epochs(pipeline(shuffle=False), 4)} == {(*ROWS, PADDING)}


def test_the_batch_of_a_step_does_not_depend_on_the_call():
    whole = pipeline().indices(0, 20)
    assert whole.shape == (20, 4)
    assert whole.dtype == np.int32
    other = pipeline()  # another object, called backwards and in parts that span epochs
    for step in reversed(range(20)):
        np.testing.assert_array_equal(other.indices(step, 1)[0], whole[step])
    for start in (1, 2, 5):
        np.testing.assert_array_equal(other.indices(start, 15), whole[start : start + 15])


def test_a_limit_cuts_every_epoch_but_not_always_to_the_same_examples():
    pipe = pipeline(limit=2)
    assert pipe.steps_per_epoch == 2
    seen = epochs(pipe, 6)
    np.testing.assert_array_equal(seen[1], epochs(pipeline(), 2)[1][:8])
    assert set(np.concatenate(seen).tolist()) == set(ROWS.tolist())
    assert pipeline(limit=100).steps_per_epoch == 3


def test_overfitting_repeats_the_same_batches():
    pipe = pipeline(overfit=1)
    assert pipe.steps_per_epoch == 1
    assert {tuple(batch) for batch in pipe.indices(0, 9)} == {tuple(pipeline().indices(0, 1)[0])}
    assert pipeline(overfit=2, limit=1).steps_per_epoch == 1


def test_a_batch_larger_than_the_data_is_padded():
    batch = pipeline(batch_size=16).indices(3, 1)[0]
    np.testing.assert_array_equal(np.sort(batch[:11]), ROWS)
    assert (batch[11:] == PADDING).all()


@pytest.mark.parametrize("size", [1, 4, 11, 12])
def test_in_order_has_every_index_once_in_the_given_order(size):
    batches = in_order(ROWS, size)
    assert batches.shape == (-(-11 // size), size)
    np.testing.assert_array_equal(batches.reshape(-1)[:11], ROWS)
    assert (batches.reshape(-1)[11:] == PADDING).all()


AT = np.concatenate([np.arange(0, 600, 4), np.arange(2, 400, 4)])  # windows of 4 steps, every 2 at first: 250
HALF = np.random.default_rng(0).permutation(250)[:249].astype(np.int32)


@pytest.mark.parametrize("size", [1, 7, 249, 300])
def test_in_streams_the_next_batch_continues_each_example_and_padding_is_at_the_end_only(size):
    order = streams(HALF, size, at=AT, length=4)
    np.testing.assert_array_equal(np.sort(order), np.sort(HALF))
    pipe = Pipeline(order, size, 0, shuffle=False)
    batches = pipe.indices(0, pipe.steps_per_epoch)
    assert (batches[:-1] != PADDING).all()
    goes_on = AT[batches[1:]] == AT[batches[:-1]] + 4
    breaks = (~goes_on & (batches[1:] != PADDING)).sum()
    assert breaks <= 2  # at the example that is left out, and where one row of windows ends and the next begins


@pytest.mark.parametrize("size", [1, 4, 300])
def test_in_runs_has_every_example_once_each_after_the_same_one(size):
    batches = in_runs(HALF, size, at=AT, length=4)
    assert batches.shape[1] == size and len(batches) % RUN == 0
    np.testing.assert_array_equal(np.sort(batches[batches != PADDING]), np.sort(HALF))
    column = batches.T.reshape(size, -1, RUN).reshape(-1, RUN)
    assert {tuple(run[run != PADDING]) for run in column} - {()} == {
        tuple(run[run != PADDING]) for run in in_runs(HALF, 9, at=AT, length=4).T.reshape(-1, RUN)
    } - {()}
    ends, begins = batches[RUN - 1 :: RUN], batches[::RUN]  # of runs that follow one another
    assert not (AT[ends[:-1]] + 4 == AT[begins[1:]])[ends[:-1] != PADDING].any()


CLASSES = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2], np.int32)


def test_a_balanced_epoch_has_equally_many_examples_of_each_class_and_uses_all_before_it_repeats_one():
    found = [epoch[:11] for epoch in epochs(pipeline(classes=CLASSES), 7)]
    label = dict(zip(ROWS.tolist(), CLASSES.tolist(), strict=True))
    for epoch in found:
        assert np.bincount([label[i] for i in epoch.tolist()]).tolist() == [4, 4, 3]
    used = np.concatenate(found).tolist()
    counts = [used.count(i) for i in ROWS.tolist()]
    assert counts == [4] * 7 + [14] * 2 + [10, 11] or counts == [4] * 7 + [14] * 2 + [11, 10]
    assert len({tuple(epoch) for epoch in found}) == 7


def test_a_balanced_order_depends_on_seed_and_step_alone():
    whole = pipeline(classes=CLASSES).indices(0, 30)
    again = pipeline(classes=CLASSES)
    for step in reversed(range(30)):
        np.testing.assert_array_equal(again.indices(step, 1)[0], whole[step])
    assert (pipeline(classes=CLASSES, seed=1).indices(0, 30) != whole).any()


def test_a_balanced_order_is_quick_with_one_example_of_a_class():
    many = np.arange(100_000, dtype=np.int32)
    found = Pipeline(many, 100_000, 0, classes=(many == 7).astype(np.int32)).indices(0, 1)[0]
    assert (found == 7).sum() == 50_000 and len(np.unique(found)) == 50_001
