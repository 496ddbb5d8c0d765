"""The jobs of a sweep: where they are, and why they failed."""

from written_sweeps import outcome_of, write_sweep

from dltrain.report.sweeps.jobs import is_sweep, job_folders, stopped_jobs

LOG = """Traceback (most recent call last):
dltrain.errors.NonFiniteError: the cause

The above exception was the direct cause of the following exception:

dltrain.errors.NonFiniteError: loss nan at step 2
try a smaller optim.learning_rate
"""


def test_a_failed_job_has_the_last_error_of_its_log_as_its_reason(tmp_path):
    found = outcome_of(tmp_path, write_sweep(tmp_path, [(["a=1"], 0.5), (["a=2"], None)], notes=LOG))
    assert [job.failed for job in found.jobs] == [False, True]
    assert found.jobs[1].reason == "loss nan at step 2"


def test_the_listed_folders_are_the_jobs_else_those_that_look_like_one(tmp_path):
    paths = write_sweep(tmp_path, [([f"a={i}"], 0.5) for i in range(11)])
    (tmp_path / "report").mkdir()
    assert is_sweep(tmp_path) and not is_sweep(paths[0])
    (tmp_path / "jobs.txt").write_text("3\n1\n3\n../elsewhere\nmissing\n")
    assert job_folders(tmp_path) == [paths[3], paths[1]]
    (tmp_path / "jobs.txt").unlink()
    assert is_sweep(tmp_path) and job_folders(tmp_path) == paths


def test_a_job_that_a_signal_ended_is_no_failure(tmp_path):
    (tmp_path / ".jobs").mkdir()
    (tmp_path / ".jobs" / "0.json").write_text('{"folder": "/a/0", "code": 130}')
    (tmp_path / ".jobs" / "1.json").write_text('{"folder": "/a/1", "code": 3}')
    (tmp_path / ".jobs" / "plan.json").write_text("[[]]")
    assert {str(path) for path in stopped_jobs(tmp_path)} == {"/a/0"}
