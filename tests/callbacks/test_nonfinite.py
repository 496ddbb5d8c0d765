"""A non-finite loss ends the run, and skipped steps are recorded."""

import json

import pytest
from callback_events import chunk_logs

from dltrain.build.callbacks import SKIPS
from dltrain.callbacks.nonfinite import NonFiniteGuard
from dltrain.engine.events import After
from dltrain.errors import NonFiniteError


def test_non_finite_loss_ends_the_run_with_its_step_once_it_is_read():
    watch = NonFiniteGuard()
    watch(chunk_logs(1, [1, 1])).read()
    seen = watch(chunk_logs(3, [1, 0, 1]))
    assert isinstance(seen, After)
    with pytest.raises(NonFiniteError, match="loss nan, gradient norm 0 at step 4") as raised:
        seen.read()
    assert raised.value.step == 4


def test_skipped_steps_are_recorded_and_ten_in_a_row_end_the_run():
    watch = NonFiniteGuard(limit=SKIPS)
    watch(chunk_logs(1, [0] * 9 + [1] + [0] * 4)).read()  # nine, and four more after a good one
    watch(chunk_logs(15, [0] * 5)).read()  # nine again, across two chunks
    assert watch.skipped == [*range(1, 10), *range(11, 20)]
    resumed = NonFiniteGuard(limit=SKIPS)
    resumed.restore(json.loads(json.dumps(watch.state())))
    with pytest.raises(NonFiniteError, match="step 20, the 10th in a row"):
        resumed(chunk_logs(20, [0])).read()
    watch(chunk_logs(20, [1, 0])).read()
