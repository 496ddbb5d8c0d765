"""The run folder: one process per run; files of another run are neither used nor deleted by accident."""

import asyncio
import fcntl
import gc
import os
import subprocess
import sys
import threading
from datetime import datetime
from types import SimpleNamespace

import pytest

from dltrain.errors import CheckpointError, ConfigError, DataError, LockedError
from dltrain.runs.folder import RunFolder, claim, existing

NOON = datetime(2024, 5, 6, 12, 0, 0)


def test_two_starts_in_one_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    claimed = [claim(None, name="digits-mlp", overwrite=False, now=NOON) for _ in range(3)]
    names = [str(folder.path) for folder in claimed]
    assert names[0] == "outputs/2024-05-06/12-00-00-digits-mlp"
    assert len(set(names)) == 3
    for folder in claimed:
        folder.release()


def test_lock_error_has_the_pid_of_the_holder_and_a_dead_process_holds_no_lock(tmp_path):
    hold = "import sys; from pathlib import Path; from dltrain.runs.folder import RunFolder\n"
    hold += "folder = RunFolder(Path(sys.argv[1])); folder.lock(); print('locked', flush=True); sys.stdin.read()"
    (tmp_path / "lock").write_text("1234567\n")  # of a process that died long ago
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(LockedError, match=f"in use by process {holder.pid};"):
            RunFolder(tmp_path).lock()
        assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
        holder.kill()
    folder = RunFolder(tmp_path)
    folder.lock()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert folder.died == str(holder.pid)
    with pytest.raises(LockedError):
        RunFolder(tmp_path).lock()
    folder.release()
    folder.lock()
    assert folder.died == ""  # it was given back
    folder.release()


def make_run(path):
    """A folder that looks like a finished run."""
    folder = RunFolder(path)
    folder.files.make()
    folder.mark()
    for inside in ("checkpoints/step_00000004/arrays", "tensorboard", "report"):
        (folder.files / inside).replace_text("file", "old")
    for name in ("config.yaml", "overrides.yaml", "metrics.jsonl", "results.csv", "summary.json", "train.log"):
        folder.files.replace_text(name, "{}")
    return folder


@pytest.mark.parametrize("left", ["", "999999999\n"], ids=["empty", "of a dead process"])
def test_holder_without_pid_is_waited_for(left, tmp_path):
    (tmp_path / "lock").write_text(left)

    def sign():
        held.truncate(0)
        print(os.getpid(), file=held, flush=True)

    with (tmp_path / "lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        signing = threading.Timer(0.1, sign)
        signing.start()
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()};"):
            RunFolder(tmp_path).lock()
        signing.join()


def test_holder_that_never_writes_its_pid_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr("dltrain.runs.folder._TO_SIGN", 0.02)
    with (tmp_path / "lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="in use by process unknown;"):
            RunFolder(tmp_path).lock()


def test_folder_released_meanwhile_is_locked(tmp_path):
    (tmp_path / "lock").touch()
    held = (tmp_path / "lock").open("a+")
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(0.1, held.close).start()
    folder = RunFolder(tmp_path)
    folder.lock()
    folder.release()


def test_folder_with_a_run_is_an_error_and_unchanged(tmp_path):
    make_run(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"already contains a run.*dltrain resume .*overwrite=true"):
        claim(tmp_path / "run", name="x", overwrite=False)
    assert [p for p in sorted(tmp_path.rglob("*")) if p.name != "lock"] == before
    claim(tmp_path / "run", name="x", overwrite=True).release()  # the refused claim left no lock behind


def test_overwrite_deletes_only_the_files_of_the_old_run(tmp_path):
    make_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, name="x", overwrite=True).release()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "notes.txt", "written.txt"]


def test_overwrite_deletes_nothing_in_a_folder_without_a_run(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="has a report that no run of dltrain wrote"):
        claim(tmp_path, name="x", overwrite=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["report", "thesis.tex"]


def test_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="folder not found"):
        existing(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"config\.yaml is missing"):
        existing(str(tmp_path))
    make_run(tmp_path / "run")
    assert existing(str(tmp_path / "run")).path == tmp_path / "run"


def test_changed_data_is_an_error(tmp_path):
    folder = RunFolder(tmp_path)
    described = {"fingerprint": "a", "examples": {"train": 3}, "splits": {"train": "x"}, "classes": ["0"]}
    folder.data.write_text('{"fingerprint": "a", "examples": {"train": 3}, "splits": {"train": "x"}}')
    folder.check_data(described)
    for key in ("fingerprint", "examples", "splits"):
        with pytest.raises(DataError, match=rf"\({key} changed\)"):
            folder.check_data({**described, key: "other"})


def test_missing_summary_is_empty_and_a_damaged_one_is_an_error(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_summary() == {}
    folder.summary.write_text('{"steps": 3}')
    assert folder.read_summary() == {"steps": 3}
    folder.summary.write_text('{"steps"')
    with pytest.raises(CheckpointError, match=r"summary\.json cannot be read"):
        folder.read_summary()


def test_failure_is_logged_and_releases_the_folder(tmp_path):
    folder = RunFolder(tmp_path)
    folder.lock()
    with pytest.raises(ConfigError), folder.kept_log():
        raise ConfigError("the reason")
    assert "Traceback" in folder.log.read_text()
    assert "the reason" in folder.log.read_text()
    folder.lock()  # it was given back
    folder.release()


async def leave_a_task_that_fails():
    async def fail():
        raise ValueError("a task failed, too")

    asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)


def test_logs_stay_silent_until_the_last_of_several_runs_has_ended(tmp_path):
    import absl.logging

    logger, folders = absl.logging.get_absl_logger(), [RunFolder(tmp_path / name) for name in "ab"]
    before = logger.propagate
    first, second = (folder.kept_log() for folder in folders)
    for folder in folders:
        folder.path.mkdir()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not logger.propagate
    second.__exit__(None, None, None)
    assert logger.propagate == before


def test_logs_of_other_libraries_are_in_train_log_only(tmp_path, capsys, caplog, monkeypatch):
    """On a full disk Orbax logs tracebacks by absl, TensorStore raises in its own threads, and asyncio late."""
    import absl.logging

    from dltrain.cli import faults

    monkeypatch.setenv("TOKEN_OF_MINE", "hunter2")
    folder, error = RunFolder(tmp_path), ValueError("No space left")
    folder.config.write_text("tags: ['${oc.env:TOKEN_OF_MINE}']")
    raised = SimpleNamespace(exc_type=ValueError, exc_value=error, exc_traceback=None)
    with folder.kept_log():
        absl.logging.error("cannot write hunter2")
        absl.logging.info("all is well")
        thread = threading.Thread(target=faults._raised_elsewhere, args=(raised,))
        thread.start()
        thread.join()
        asyncio.run(leave_a_task_that_fails())
        gc.collect()
    text = folder.log.read_text()
    assert "cannot write ${oc.env:TOKEN_OF_MINE}" in text and "ValueError: No space left" in text
    assert "ValueError: a task failed, too" in text
    assert "all is well" not in text and capsys.readouterr().err == ""
    assert caplog.records == []  # which hears what is passed on
    before = folder.log.read_text()
    absl.logging.error("of another run")
    assert folder.log.read_text() == before
