"""The plan of a launch: its folder, the run, and the words of a first and of a further start."""

import subprocess
from pathlib import Path

import pytest

from dltrain.errors import ConfigError
from dltrain.launchers import _plan
from dltrain.launchers._plan import choose_words, cpu_devices, exports, fitting, make_plan, read_time


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chosen(plan, *, again=""):
    done = subprocess.run(
        ["sh", "-c", choose_words(plan, again=again) + 'printf "%s\\n" "$@"'], capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_a_training_gets_a_run_folder_below_that_of_the_launch(here):
    plan = make_plan(["model=cnn"], "slurm")
    assert plan.run == plan.folder / "run"
    assert plan.first == ("model=cnn", f"output_dir={plan.run}")
    assert plan.folder.is_relative_to(here / "outputs")


def test_a_second_start_continues_what_has_a_checkpoint(here):
    plan = make_plan(["model.widths=[1, 2]", "trust=mine", "output_dir=a b"], "slurm")
    assert (
        chosen(plan, again="overwrite=true") == [*plan.first, "overwrite=true"] == [*plan.words(), "overwrite=true"]
    )
    (here / "a b" / "checkpoints" / "step_5").mkdir(parents=True)
    assert chosen(plan, again="overwrite=true") == ["resume", str(here / "a b"), "trust=mine"] == list(plan.words())


def test_a_resume_keeps_its_changes_in_every_start(here):
    (here / "r" / "checkpoints" / "step_5").mkdir(parents=True)
    plan = make_plan(["resume", "r", "epochs=20"], "slurm")
    assert chosen(plan) == ["resume", str(here / "r"), "epochs=20"]


def test_an_elastic_run_has_one_command_for_every_start(here):
    (here / "r" / "checkpoints" / "step_5").mkdir(parents=True)
    plan = make_plan(["model=cnn", "output_dir=r"], "slurm", elastic=True)
    assert plan.first == plan.again == ("model=cnn", f"output_dir={here / 'r'}")
    assert chosen(plan, again="overwrite=true") == [*plan.first]


@pytest.mark.parametrize(
    ("mesh", "batch_size", "expected"),
    [
        ("auto", 16, [4, 2, 1]),
        ("auto", 12, [3, 2, 1]),  # with two devices each; one process takes as many as divide the batch
        ("auto", "all", [5, 4, 3, 2, 1]),
        ({"data": 2, "fsdp": 2}, 16, [2]),
        ({"model": 2}, 15, [1]),
    ],
)
def test_the_batch_decides_on_how_many_processes_a_run_can_go_on(mesh, batch_size, expected):
    config = {"batch_size": batch_size, "optim": {"accumulate": 1}, "runtime": {"mesh": mesh}}
    assert fitting(config, 5, devices=2) == expected


def test_the_flags_of_xla_say_how_many_devices_a_process_has():
    flag = "--xla_force_host_platform_device_count"
    found = [cpu_devices(e) for e in ({}, {"XLA_FLAGS": f"--other {flag}=3"}, {"XLA_FLAGS": f"{flag}=x"})]
    assert found == [1, 3, 1]


def test_a_folder_with_a_run_is_refused(here):
    (here / "r" / "checkpoints" / "step_5").mkdir(parents=True)
    with pytest.raises(ConfigError, match="already contains a run"):
        make_plan(["output_dir=r"], "slurm")
    with pytest.raises(ConfigError, match="name one run folder"):
        make_plan(["resume", "elsewhere"], "slurm")


def test_two_launches_in_one_second_have_two_folders():
    first = make_plan(["model=cnn"], "slurm")
    first.write("job.sh", "")
    now = _plan.datetime.strptime(first.folder.parent.name + first.folder.name, "%Y-%m-%d%H-%M-%S-slurm")
    assert make_plan(["model=cnn"], "slurm", now=now).folder == Path(f"{first.folder}-2")


def test_only_variables_of_the_training_are_written_down():
    assert exports({"JAX_PLATFORMS": "cpu", "AWS_SECRET": "x", "PYTHONPATH": "p"}) == {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": "p",
    }


@pytest.mark.parametrize("text", ["2", "2x", "1ep", "30s", "-1h", ""])
def test_a_bad_time_is_refused(text):
    with pytest.raises(ConfigError, match="time="):
        read_time(text, "time")


def test_a_time_is_in_seconds():
    assert [read_time(text, "time") for text in ("2h", "90min", "0.5h")] == [7200, 5400, 1800]
