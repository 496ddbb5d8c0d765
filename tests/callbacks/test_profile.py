"""Recording stops however the run ends, and a short run has enough chunks to record."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest

from dltrain.callbacks.profile import CHUNKS, Profile
from dltrain.durations import Duration
from dltrain.engine.events import StopTraining
from dltrain.engine.loop import Pace
from dltrain.report.console import Screen
from dltrain.report.live import LiveReport
from dltrain.runs.folder import RunFolder
from dltrain.trainer import train

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture
def profiler_is_stopped(tmp_path):
    """Check after the test that no profiler is left running, by starting one."""
    yield
    jax.profiler.start_trace(tmp_path / "another")
    jax.profiler.stop_trace()


@pytest.fixture(scope="module")
def profiling(make_program):
    """A program with `profile=true`, compiled once."""
    program = make_program()
    program.plan = replace(program.plan, profile=True)
    return program


def run(program, folder, error, *, at):
    """Train with a callback that raises at step `at`. Each step is a chunk, since the callback runs at each."""

    def fail(event):
        if event.step == at:
            raise error

    program.parts = replace(program.parts, callbacks=[(Duration(1, ""), fail)])
    where = RunFolder(folder)
    return train(program, where, LiveReport(program, where, Screen(quiet=True)))


def test_run_that_stops_early_is_recorded_up_to_its_end(profiling, tmp_path, profiler_is_stopped):
    trained = run(profiling, tmp_path, StopTraining("enough"), at=3)
    trained.recorder.close()
    assert trained.outcome.reason == "enough"
    recorded = trained.profile.recorded
    assert (recorded.first, recorded.last) == (2, 3)
    assert recorded.file.stat().st_size > 1000


def test_failing_run_leaves_no_running_profiler(profiling, tmp_path, profiler_is_stopped):
    with pytest.raises(RuntimeError, match="fell over"):
        run(profiling, tmp_path, RuntimeError("fell over"), at=3)


def test_run_that_stops_in_the_compiling_chunk_says_so(profiling, tmp_path, profiler_is_stopped):
    trained = run(profiling, tmp_path, StopTraining("at once"), at=1)
    trained.recorder.close()
    assert trained.profile.recorded is None
    assert "ended before a chunk was recorded" in trained.profile.problem


def test_another_recording_in_the_process_is_not_stopped(profiling, tmp_path):
    jax.profiler.start_trace(tmp_path / "other")
    try:
        trained = run(profiling, tmp_path, StopTraining("enough"), at=3)
    finally:
        jax.profiler.stop_trace()  # raises if it was stopped
    trained.recorder.close()
    assert trained.profile.recorded is None
    assert trained.profile.problem


@pytest.mark.parametrize(("steps", "most"), [(1, 1), (4, 1), (5, 1), (40, 10), (100_000, 256)])
def test_chunks_are_shortened_until_enough_are_recorded(tmp_path, steps, most, monkeypatch):
    started, stopped = [], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder, **options: started.append(folder))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: stopped.append(True))
    pace = Pace(most=1000)
    profile = Profile(tmp_path, pace, steps=steps)
    assert (pace.most, pace.steps) == (most, min(most, 8))
    step = 0
    for chunk in range(steps):
        step = min(steps, step + pace.steps)
        profile(SimpleNamespace(step=step, is_last=step == steps, state=()))
        assert len(stopped) == (chunk >= CHUNKS or (step == steps and steps > 1))
        if step == steps or stopped:
            break
        pace.update(pace.steps, 1e-6)
    profile.close()
    assert len(started) == len(stopped) == (steps > 1)
    assert (pace.most, pace.target) == (1000, 1.0)
    assert (profile.problem == "the run has a single step, and the first one compiles") == (steps == 1)
