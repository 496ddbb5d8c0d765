import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain.errors import ConfigError
from dltrain.sweep.assignment import (
    OLD_FRACTION,
    PREALLOCATE,
    SHARE,
    Place,
    assign,
    at_a_time,
    devices_for,
    take_place,
    threads_each,
    visible_devices,
)


def test_with_enough_devices_each_process_has_its_own():
    assert [place.device for place in assign(3, ["0", "1", "2", "3"])] == ["0", "1", "2"]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 30), st.integers(1, 30))
def test_no_device_is_given_more_than_its_memory_and_none_is_left_idle(processes, count, memory, needed):
    devices = [str(n) for n in range(count)]
    if needed > SHARE * memory:
        with pytest.raises(ConfigError, match="a job needs"):
            assign(processes, devices, memory=memory, needed=needed)
        return
    places = assign(processes, devices, memory=memory, needed=needed)
    on = [sum(place.device == device for place in places) for device in devices]
    assert 1 <= len(places) <= processes and max(on) - min(on) <= 1
    assert all(n * needed <= SHARE * memory for n in on)
    for device, n in zip(devices, on, strict=True):
        assert sum(place.fraction for place in places if place.device == device) <= SHARE + 0.0005 * n
    assert len(places) == processes or min(on) == int(SHARE * memory / needed)  # nobody waits while there is room


@given(st.integers(1, 64), st.integers(1, 64))
def test_processes_together_have_no_more_threads_than_cores_unless_each_has_one(cores, processes):
    each = threads_each(cores, processes)
    assert each == 1 or each * processes <= cores


@pytest.mark.parametrize(
    ("launcher", "settings", "expected"),
    [
        ("joblib", {"n_jobs": 2}, 2),
        ("joblib", {"n_jobs": -1}, 4),
        ("joblib", {"n_jobs": -2}, 3),
        ("joblib", {"n_jobs": 99}, 6),
        ("submitit_local", {}, 6),
        ("submitit_slurm", {}, None),
    ],
)
def test_what_runs_at_a_time_is_what_the_launcher_says(launcher, settings, expected):
    assert at_a_time(launcher, settings, jobs=6, cores=4) == expected


def test_the_devices_are_those_of_the_environment_or_of_the_machine(tmp_path):
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl"):
        (tmp_path / name).touch()
    assert visible_devices({}, nodes=tmp_path) == ["0", "2", "10"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "3,1"}, nodes=tmp_path) == ["3", "1"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": ""}, nodes=tmp_path) == []


def test_a_job_that_computes_on_a_cpu_gets_no_gpu():
    assert devices_for("auto", {"CUDA_VISIBLE_DEVICES": "3,1"}) == ["3", "1"]
    assert devices_for("cpu", {"CUDA_VISIBLE_DEVICES": "3,1"}) == []


def test_a_place_is_taken_once_and_is_free_again_when_its_process_ends(tmp_path):
    places, environments = [Place("0", 0.9), Place("1", 0.9)], [{}, {}, {}, {OLD_FRACTION: "0.5"}]
    held = [take_place(places, tmp_path, environment) for environment in environments[:3]]
    assert [e.get("CUDA_VISIBLE_DEVICES") for e in environments] == ["0", "1", None, None] and held[2] is None
    held[0].close()
    again = take_place(places, tmp_path, environments[3])
    expected = {"CUDA_VISIBLE_DEVICES": "0", "XLA_CLIENT_MEM_FRACTION": "0.900", PREALLOCATE: "false"}
    assert environments[3] == expected  # without the older name of the fraction, with which jax does not start
    for handle in (held[1], again):
        handle.close()
