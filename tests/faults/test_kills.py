"""`kill -9` at any instant, also during a save: the resumed run has the bits of an uninterrupted one."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from few import few


@pytest.fixture
def go_on(dltrain, saved):
    """`go_on(cwd, fresh)` returns the words that continue after a kill: `resume`, or a fresh start."""

    def words(cwd: Path, fresh: tuple[str, ...]) -> tuple[str, ...]:
        if saved(cwd / "run"):
            return ("resume", "run")
        result = dltrain("resume", "run", cwd=cwd)  # a run without a checkpoint to continue from is reported
        assert result.code in (2, 4) and result.err.startswith("dltrain: "), (result.code, result.err)
        return (*fresh, "overwrite=true")

    return words


@pytest.fixture
def killed(start, words, rng, count, same, saved, go_on):
    """`killed(cwd, times, clean)` starts a run, kills it `times` times, lets it end, and returns its folder."""

    def go(cwd: Path, times: int, clean) -> Path:
        cwd.mkdir()
        folder, fresh, done = cwd / "run", (*words, f"steps={clean.steps}", "output_dir=run", "quiet=true"), 0
        command = fresh
        while done < times:
            process = start(*command, cwd=cwd)
            if rng.random() < 0.7:  # while it trains and saves: most of a process's life is its start
                before = saved(folder)
                while process.poll() is None and saved(folder) == before:
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, 0.009 * clean.steps * clean.seconds))  # forty are a third of it
            else:
                time.sleep(rng.uniform(0, 1.2 * clean.seconds))
            if process.poll() is not None:  # it was faster
                assert process.returncode == 0, process.stderr.read()
                same(folder, clean)
                shutil.rmtree(folder)
                command = fresh
                continue
            process.kill()
            process.wait()
            done += 1
            count.tried += 1
            steps = saved(folder)
            last = _last_step(folder)
            count.note(inside_a_save=bool(list((folder / "checkpoints").glob(".writing*"))))
            count.note(before_the_first_checkpoint=not steps)
            if steps:
                count.note(most_steps_repeated=max(0, last - steps[-1]))
            command = go_on(cwd, fresh)
        process = start(*command, cwd=cwd)
        err = process.communicate(timeout=120)[1]
        assert process.returncode == 0, err
        same(folder, clean)
        count.survived += times
        return folder

    return go


def _last_step(folder: Path) -> int:
    """The last step whose metrics were written; an incomplete last line does not count."""
    lines = (folder / "metrics.jsonl").read_text().split("\n")[:-1] if (folder / "metrics.jsonl").exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


@pytest.mark.timeout(120)
@few("times", [1, 3])
def test_kills_at_random_instants_of_a_short_run_lose_nothing(killed, short, tmp_path, times):
    killed(tmp_path / "a", times, short)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_kills_at_random_instants_lose_nothing(killed, tries, tmp_path, clean):
    left = tries(100)
    while left > 0:
        folder = killed(tmp_path / str(left), min(5, left), clean)
        left -= 5
        if left > 0:
            shutil.rmtree(folder.parent)
    assert fast(folder, tmp_path) == fast(clean.folder, tmp_path)  # the last one, in TensorBoard's fast loader


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_kills_inside_each_save_lose_nothing(start, words, clean, count, same, saved, go_on, tries, tmp_path):
    """Kill as soon as the folder of the n-th save exists, for every n."""
    fresh = (*words, "steps=40", "output_dir=run", "quiet=true")
    for n in range(1, tries(20) + 1):
        cwd = tmp_path / str(n)
        cwd.mkdir()
        checkpoints = cwd / "run/checkpoints"
        process = start(*fresh, cwd=cwd)
        while process.poll() is None and not any(step >= n for step in drafts(checkpoints)):
            time.sleep(0.0005)
        process.kill()
        process.wait()
        count.tried += 1
        count.note(inside_a_save=bool(drafts(checkpoints)), before_the_first_checkpoint=not saved(cwd / "run"))
        process = start(*go_on(cwd, fresh), cwd=cwd)
        err = process.communicate(timeout=120)[1]
        assert process.returncode == 0, err
        assert drafts(checkpoints) == []
        same(cwd / "run", clean)
        count.survived += 1
        shutil.rmtree(cwd)
    assert count.more["inside_a_save"], "every kill came too late"


def drafts(checkpoints: Path) -> list[int]:
    """Steps of the checkpoints that are being written."""
    return [int(path.name.removeprefix(".writing_")) for path in checkpoints.glob(".writing_*")]


def fast(folder: Path, cwd: Path) -> dict:
    """Ask TensorBoard itself, with its fast loader (a server in Rust), for every point of the run's curves."""
    pytest.importorskip("tensorboard_data_server", reason="TensorBoard's fast loader is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["tensorboard", "--logdir", str(folder / "tensorboard"), "--port", str(port), "--load_fast=true"]
    command += ["--samples_per_plugin", "scalars=1000"]
    base = f"http://127.0.0.1:{port}/data/plugin/scalars"

    def ask(what: str) -> object:
        with urllib.request.urlopen(f"{base}/{what}", timeout=10) as answer:
            return json.load(answer)

    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            found, before = {}, None
            for _ in range(60):  # until two looks agree: it loads while it answers
                time.sleep(0.5)
                try:
                    tags = ask("tags")
                except OSError:
                    continue
                timed = ("examples_per_second", "waiting", "_peak_bytes")  # what no two runs share
                wanted = [tag for tag in tags.get(".", ()) if not tag.endswith(timed)]
                found = {t: [p[1:] for p in ask(f"scalars?run=.&tag={quote(t)}")] for t in wanted}
                if found and found == before:
                    break
                before = found
            assert found, "TensorBoard's server showed no curve"
            return found
        finally:
            server.kill()
