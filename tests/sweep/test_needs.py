"""How many processes share a GPU follows from what jobs were measured to need; devices are simulated."""

import pytest

from dltrain.sweep.assignment import SHARE, assign
from dltrain.sweep.needs import CONTEXT, Need, at_once, describe_need, read_need, write_need

GIB = 2**30


def test_until_a_job_is_measured_each_device_has_one_process_and_then_as_many_as_fit(tmp_path):
    devices = ["0", "1"]
    assert at_once(16, devices, tmp_path) == 2
    write_need(tmp_path, 0, Need(4 * GIB, 80 * GIB))  # 5.5 GiB with what is added
    count = at_once(16, devices, tmp_path)
    assert count == 16 and at_once(40, devices, tmp_path) == 2 * int(0.9 * 80 / 5.5)
    write_need(tmp_path, 7, Need(20 * GIB, 80 * GIB))
    write_need(tmp_path, 8, Need(2 * GIB, 80 * GIB))
    assert read_need(tmp_path) == Need(20 * GIB, 80 * GIB)  # the largest so far
    assert at_once(16, devices, tmp_path) == 2 * int(0.9 * 80 / 25.5)
    for place in assign(at_once(16, devices, tmp_path), devices):
        assert place.fraction * 80 >= 25.5


def test_processes_that_have_a_device_each_wait_for_nothing(tmp_path):
    assert at_once(2, ["0", "1", "2"], tmp_path) == 2
    assert at_once(3, [], tmp_path) == 3  # a CPU


def test_a_job_that_has_run_alone_may_run_alone_again(tmp_path):
    """Also if what is added for safety is more than the device has."""
    need = Need(int(0.85 * 16 * GIB), 16 * GIB)
    assert need.bytes == int(SHARE * 16 * GIB) < need.peak + CONTEXT + GIB
    write_need(tmp_path, 0, need)
    assert at_once(4, ["0"], tmp_path) == 1


@pytest.mark.parametrize(("ended", "count"), [(False, 1), (True, 4)])
def test_devices_that_report_no_memory_are_shared_as_was_asked_for(tmp_path, ended, count):
    assert at_once(4, ["0"], tmp_path, ended=ended) == count


def test_the_user_is_told_what_was_measured():
    said = describe_need(Need(4 * GIB, 80 * GIB), 16, 2)
    assert said == "a job has used 4.0 GiB of 80.0 GiB on a GPU: 16 processes at a time on 2 GPUs"
