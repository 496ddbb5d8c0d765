"""Jobs in processes of a launcher, without its plugin: what each process does, called here one after the other."""

import functools
import json

import pytest

from dltrain.cli import launched
from dltrain.cli.job import compose_jobs
from dltrain.composition.launch import Job, SweepStopped
from dltrain.config.folders import roots
from dltrain.devices import memory
from dltrain.errors import LockedError
from dltrain.sweep.needs import Need, read_need, write_need
from dltrain.sweep.plan import write_configs

WORDS = ("data=iris", "data.split_seed=7", "model=linear", "batch_size=64", "epochs=1", "quiet=true")


@pytest.fixture
def jobs(tmp_path):
    """Two jobs of a sweep whose plan is written."""
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    found = [Job(n, (*WORDS, f"seed={n}"), roots(None), sweep / str(n), sweep) for n in (0, 1)]
    write_configs(sweep, compose_jobs(found, ()))
    return found


def note(job: Job) -> dict:
    return json.loads((job.sweep / ".jobs" / f"{job.number}.json").read_text())


def test_a_job_that_is_started_again_is_not_trained_again(jobs, unoptimised):
    first = launched.run_job((), (), 0, jobs[0])
    path = jobs[0].sweep / ".jobs" / "0.json"
    path.write_text(json.dumps({**note(jobs[0]), "code": 1, "ended": False}))  # as if it had died before its note
    written = (jobs[0].folder / "summary.json").stat().st_mtime_ns
    assert launched.run_job((), (), 0, jobs[0]) == first
    assert (jobs[0].folder / "summary.json").stat().st_mtime_ns == written
    assert note(jobs[0])["code"] == 0 and note(jobs[0])["ended"]
    launched.run_missing([1], (), 0, jobs[0])  # the first of those that are missing is job 1
    assert (jobs[1].folder / "summary.json").exists()


def test_a_job_that_another_process_trains_is_left_to_it(jobs, dltrain):
    with launched.holding(jobs[0].sweep, [0]):
        launched.run_job((), (), 0, jobs[0])
        result = dltrain("-m", "--resume", str(jobs[0].sweep))
        with (
            pytest.raises(LockedError, match=r"job 0 of .* is still trained"),
            launched.holding(jobs[0].sweep, [0]),
        ):
            pass
    assert not jobs[0].folder.exists()
    assert result.code == 7 and "job 0 of" in result.err and "type the same again" in result.err


def test_a_launcher_that_gives_up_says_why(jobs, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("a worker was killed\nand more")

    monkeypatch.setattr(launched, "launch", fail)
    with pytest.raises(SweepStopped) as stopped:
        launched.launch_jobs([], jobs[0].sweep, (), launcher="joblib", train=functools.partial(print))
    assert stopped.value.code == 9 and stopped.value.reason.endswith("has ended: a worker was killed")


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_joblib_measures_one_job_for_each_gpu_before_others_share_them(launcher, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    begun = []
    for jobs, processes in launched.in_steps(range(9), 6, tmp_path, launcher=launcher):
        begun.append((len(jobs), processes))
        if len(begun) == 1:
            write_need(tmp_path, 0, Need(20 * 2**30, 80 * 2**30))
    assert begun == ([(2, 2), (7, 4)] if launcher == "joblib" else [(9, 6)])
    said = "a job has used 20.0 GiB of 80.0 GiB on a GPU: 4 processes at a time on 2 GPUs"
    assert (said in capsys.readouterr().err) == (launcher == "joblib")
    if launcher == "joblib":  # resumed: what a job needs is known
        assert [*launched.in_steps(range(9), 6, tmp_path, launcher="joblib")] == [(range(9), 4)]
        assert [*launched.in_steps(range(9), 2, tmp_path, launcher="joblib")] == [(range(9), 2)]


def test_without_gpus_all_jobs_start_together(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [*launched.in_steps(range(9), 0, tmp_path, launcher="joblib")] == [(range(9), 0)]


def test_what_a_job_has_needed_is_noted_where_processes_share_gpus(jobs, monkeypatch):
    monkeypatch.setattr(memory, "device_use", lambda: (3, 10))
    monkeypatch.setattr(launched, "train_composed", lambda jobs: None)
    launched.run_job((), (), 0, jobs[0])
    assert read_need(jobs[0].sweep) is None  # on a CPU
    monkeypatch.setattr(launched, "PLACES", ["a GPU"])
    launched.run_job((), (), 0, jobs[1])
    assert read_need(jobs[1].sweep) == Need(3, 10)
