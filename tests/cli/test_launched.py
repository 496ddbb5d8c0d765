"""Jobs in processes of a launcher, without its plugin: what each process does, called here one after the other."""

import functools
import json

import pytest

from dltrain.cli import launched
from dltrain.cli.job import compose_jobs
from dltrain.composition.launch import Job, SweepStopped
from dltrain.config.folders import roots
from dltrain.errors import LockedError
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
