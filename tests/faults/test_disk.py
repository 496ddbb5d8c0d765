"""Saves cut at every system call, the order of writes on disk, full disks, read-only folders.

strace plants faults in a real process: it is killed when one of its threads enters its n-th call of a kind.
"""

import os
import re
import shutil
import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from dltrain.runs import checkpoint

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]

# Everything by which a save changes what is on the disk, or could be cut.
CALLS = (
    "openat write pwrite64 writev mkdir mkdirat rename renameat fsync fdatasync unlink unlinkat rmdir close fstat "
    "newfstatat lseek"
).split()
SAVE = """
import sys, time
from pathlib import Path
import jax
jax.config.update("jax_platforms", "cpu")
import numpy as np, orbax.checkpoint
from dltrain.runs import checkpoint
folder, step = Path(sys.argv[1]), int(sys.argv[2])
leaves = {"params.kernel": np.full((64, 64), step, np.float32), "step": np.array(step, np.int32)}
print("ready", flush=True)
while "TracerPid:\\t0" in Path("/proc/self/status").read_text():
    time.sleep(0.01)
time.sleep(0.05)
(folder / "now").write_text("")
checkpoint.save(folder / "checkpoints", step, leaves, {"callbacks": {}, "best": None})
checkpoint.prune(folder / "checkpoints", {step}, warn=print)
(folder / "done").write_text("")
"""


@pytest.fixture(scope="module")
def strace() -> str:
    """The path of strace, if it is installed and may trace."""
    if not (found := shutil.which("strace")):
        pytest.skip("strace is not installed: a save was NOT cut at every system call")
    if subprocess.run([found, "-f", "true"], capture_output=True).returncode:
        pytest.skip("ptrace is not allowed here: a save was NOT cut at every system call")
    return found


def trace(strace: str, folder: Path, step: int, *options: str) -> list[str]:
    """Save step `step` in a process that strace is attached to just before, and return the calls that were made."""
    log = folder / "trace"
    command = [sys.executable, "-c", SAVE, str(folder), str(step)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as saving:
        assert saving.stdout.readline() == "ready\n"
        attached = [strace, "-f", "-y", "-o", str(log), *options, "-p", str(saving.pid)]
        subprocess.run(attached, timeout=60, capture_output=True)  # ends with the process
        saving.wait(timeout=60)
    lines = log.read_text(errors="replace").splitlines()
    return lines[next((i for i, line in enumerate(lines) if '/now"' in line), 0) :]


def most_calls(lines: list[str]) -> dict[str, int]:
    """How often the busiest thread makes each call during the save: strace counts by thread."""
    found: dict[str, dict[str, int]] = {}
    for line in lines:
        if '/done"' in line:
            break
        if match := re.match(r"(\d+)\s+(\w+)\(", line):
            of_threads = found.setdefault(match[2], {})
            of_threads[match[1]] = of_threads.get(match[1], 0) + 1
    return {call: max(found[call].values()) for call in CALLS if call in found}


def test_a_save_cut_at_every_system_call_leaves_the_one_before(strace, tmp_path, tries, rng, count):
    """Killed on entering the n-th call of its kind; or calls that write return an error of the disk."""
    base = tmp_path / "base"
    base.mkdir()
    trace(strace, base, 4, "-e", "trace=mkdirat")
    assert checkpoint.steps(base / "checkpoints") == [4]
    for mark in ("now", "done", "trace"):
        (base / mark).unlink()
    calls = most_calls(
        trace(strace, shutil.copytree(base, tmp_path / "probe"), 8, "-e", f"trace={','.join(CALLS)}")
    )
    assert calls["renameat"] >= 3 and calls["fsync"] >= 5 and calls["write"] >= 3
    plans = [(call, n, "signal=KILL") for call in calls for n in range(1, calls[call] + 1)]
    plans += [
        (c, n, "error=ENOSPC")
        for c in ("write", "pwrite64", "mkdir", "mkdirat", "rename", "renameat")
        for n in range(1, calls.get(c, 0) + 1)
    ]
    plans += [(c, n, "error=EIO") for c in ("fsync", "fdatasync") for n in range(1, calls.get(c, 0) + 1)]
    part, parts = map(int, os.environ.get("FAULTS_PART", "1/1").split("/"))
    plans = [plan for plan in plans if plan[1] % parts == part - 1]
    rng.shuffle(plans)
    count.note(different_cuts=len(plans))

    def cut(numbered: tuple[int, tuple[str, int, str]]) -> None:
        i, (call, n, what) = numbered
        folder = shutil.copytree(base, tmp_path / str(i))
        trace(strace, folder, 8, "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={n}")
        result: list[str] = []
        found = checkpoint.load_last(folder / "checkpoints", warn=result.append)
        story = f"{call} {n} {what}: {sorted(p.name for p in (folder / 'checkpoints').iterdir())} {result}"
        assert result == [], story  # nothing that has the name of a checkpoint is damaged
        assert found.step in (4, 8) and (found.leaves["params.kernel"] == found.step).all(), story
        assert found.step == 8 or not (folder / "done").exists(), story
        inside_it = (folder / "now").exists() and not (folder / "done").exists()
        count.note(**{f"step_{found.step}_was_read": 1, "cut_inside_the_save": inside_it})
        shutil.rmtree(folder)

    chosen = plans[: tries(len(plans))]
    with ThreadPool(len(os.sched_getaffinity(0))) as pool:  # each try is a process of its own
        for _ in pool.imap_unordered(cut, enumerate(chosen)):
            count.survived += 1
    count.tried = len(chosen)
    assert count.more["cut_inside_the_save"] > len(chosen) / 2  # the faults were planted where they should be


def test_the_order_on_disk_is_arrays_manifest_seal_rename_parent(strace, tmp_path):
    lines = trace(
        strace, tmp_path, 4, "-e", "trace=openat,write,pwrite64,writev,rename,renameat,renameat2,fsync,fdatasync"
    )
    final = next(i for i, line in enumerate(lines) if re.search(r'renameat\w*\(.*"step_00000004"', line))
    place = r"checkpoints/\.writing_00000004"

    def last(pattern: str) -> int:
        return max(i for i, line in enumerate(lines[:final]) if re.search(pattern, line))

    synced = {m[1] for line in lines[:final] if (m := re.search(r"f(?:data)?sync\(\d+<([^>]*)>", line))}
    root = tmp_path / "checkpoints/step_00000004"
    files = [p for p in root.rglob("*") if p.is_file() and p.name not in ("manifest.json", "manifest.json.sha256")]
    there = str(root).replace("step_00000004", ".writing_00000004")
    for path in (*files, *(p for p in root.rglob("*") if p.is_dir())):
        assert str(path).replace(str(root), there) in synced, f"{path} was not synced before the rename"
    written = last(rf"(write|pwrite64|writev)\(\d+<[^>]*{place}/arrays")
    manifest = last(rf'renameat\w*\(\d+<[^>]*{place}>, .*, "manifest\.json"')
    seal = last(rf'renameat\w*\(\d+<[^>]*{place}>, .*, "manifest\.json\.sha256"')
    assert written < manifest < seal < final
    for name in ("manifest.json", "manifest.json.sha256"):
        sync = last(rf"fsync\(\d+<[^>]*{place}/\.{re.escape(name)}\.[0-9a-f]{{8}}\.new>")
        assert sync < (manifest if name == "manifest.json" else seal)
    folder = last(rf"fsync\(\d+<[^>]*{place}>")
    assert seal < folder < final
    assert any(re.search(r"fsync\(\d+<[^>]*/checkpoints>", line) for line in lines[final:])


@pytest.fixture
def disk(tmp_path):
    """`disk(kib)` mounts a file system of that size and returns its folder."""
    mounted = []

    def mount(kib: int, *options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={kib}k", *options]), "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(
                f"mounting is not allowed here ({done.stderr.strip()}): NO full or read-only disk was tried"
            )
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)])


def test_a_disk_that_fills_up_ends_with_6_and_is_resumed_when_there_is_room(
    disk, start, words, clean, rng, tries, count, same, saved, dltrain
):
    """Whatever is being written when the disk is full, saved work stays, and resumes once there is space."""
    for _ in range(tries(12)):
        place = disk(int(rng.uniform(60, 900)))
        process = start(*words, "steps=40", "output_dir=run", "quiet=true", cwd=place)
        err = process.communicate(timeout=120)[1]
        count.tried += 1
        story = f"{process.returncode}: {err}"
        if process.returncode == 0:
            count.note(had_room_enough=1)
        else:
            assert process.returncode == 6, story
            assert re.fullmatch(r"dltrain: .*No space left on device.*\n", err), story  # and no traceback
        steps = saved(place / "run")
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        if process.returncode and steps:
            count.note(with_a_checkpoint=1)
            assert checkpoint.problems(place / f"run/checkpoints/step_{steps[0]:08d}") == [], story
            assert dltrain("hash", str(place / "run")).out.endswith(f"step {steps[-1]}\n")
            line = ("resume", "run")
        else:
            line = (*words, "steps=40", "output_dir=run", "overwrite=true")
        done = start(*line, cwd=place)
        err = done.communicate(timeout=120)[1]
        assert done.returncode == 0, f"{story} then {done.returncode}: {err}"
        same(place / "run", clean)
        count.survived += 1


def test_a_limit_on_the_size_of_files_ends_with_6(words, tmp_path, saved, dltrain):
    """Replaces a full disk where mounting is not allowed: metrics.jsonl grows until the limit."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from dltrain.cli.main import main; sys.exit(main())"
    )
    line = (*words, "steps=1000000", "checkpoint_every=500", "runtime.cache=false", "output_dir=run", "quiet=true")
    done = subprocess.run(
        [sys.executable, "-c", code, *line], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 6, done.stderr
    assert "File too large" in done.stderr
    step = saved(tmp_path / "run")[-1]
    done = dltrain("resume", "run", f"steps={step + 3}", cwd=tmp_path)
    assert done.code == 0, done.err


def test_a_folder_that_cannot_be_written_is_found_before_step_1(disk, start, words, tmp_path):
    place = disk(2000)
    first = start(*words, "steps=4", "output_dir=run", "quiet=true", cwd=place)
    assert first.wait(timeout=60) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    lines = (
        ((*words, "steps=4", "output_dir=new"), 6),
        (("resume", "run", "steps=8"), 6),
        ((*words, "steps=4", "output_dir=run", "overwrite=true"), 6),
        (("evaluate", "run"), 0),
        (("hash", "run"), 0),
    )
    for line, code in lines:
        process = start(*line, cwd=place)
        err = process.communicate(timeout=60)[1]
        assert process.returncode == code, (line, err)
        assert "Traceback" not in err and (code == 0 or "Read-only file system" in err), err
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        process = start(*words, "output_dir=closed/run", cwd=tmp_path)
        assert "Permission denied" in process.communicate(timeout=60)[1] and process.returncode == 6


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS limits no address space: NO memory limit was tried")
def test_missing_memory_is_predicted_and_the_suggested_batch_size_trains(tmp_path):
    """With 2.4 GB of address space, as set by `ulimit -v`: the process takes half of it without any model."""
    base = ["data=digits", "model=cnn", "model.channels=[1024,1024]", "runtime.platform=cpu", "runtime.cache=false"]
    base += ["steps=2", "quiet=true", "data.scale=unit"]

    def run(*more: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "dltrain", *base, *more]
        limited = ["bash", "-c", 'ulimit -v 2400000; exec "$@"', "bash", *command]
        return subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=280)

    big = run("batch_size=all", "output_dir=big")
    assert big.returncode == 8, (big.returncode, big.stderr)
    named = re.search(r"batch_size=(\d+)", big.stderr)
    assert named and not (tmp_path / "big").exists(), big.stderr
    fits = run(f"batch_size={named[1]}", "output_dir=fits")
    assert fits.returncode == 0, fits.stderr
