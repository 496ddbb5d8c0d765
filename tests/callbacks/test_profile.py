"""Recording ends whatever ends the run, and a short run has chunks enough to record."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest

from dltrain.callbacks.profile import CHUNKS, Profile
from dltrain.durations import Duration
from dltrain.engine.events import StopTraining
from dltrain.engine.loop import Pace
from dltrain.report.console import Screen
from dltrain.runs.folder import RunFolder
from dltrain.trainer import train


@pytest.fixture
def nothing_runs(tmp_path):
    """Afterwards the profiler can be started, since nobody has left it running."""
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
    """Train; a callback raises at a step. Every step is a chunk, since the callback wants to see each."""

    def fail(event):
        if event.step == at:
            raise error

    program.parts = replace(program.parts, callbacks=[(Duration(1, ""), fail)])
    return train(program, RunFolder(folder), Screen(quiet=True))


def test_a_run_that_ends_early_is_recorded_as_far_as_it_went(profiling, tmp_path, nothing_runs):
    trained = run(profiling, tmp_path, StopTraining("enough"), at=3)
    trained.recorder.close()
    assert trained.outcome.reason == "enough"
    recorded = trained.profile.recorded
    assert (recorded.first, recorded.last) == (2, 3)
    assert recorded.file.stat().st_size > 1000


def test_a_run_that_fails_leaves_no_running_profiler(profiling, tmp_path, nothing_runs):
    with pytest.raises(RuntimeError, match="fell over"):
        run(profiling, tmp_path, RuntimeError("fell over"), at=3)


def test_a_run_that_ends_in_the_chunk_that_compiles_says_so(profiling, tmp_path, nothing_runs):
    trained = run(profiling, tmp_path, StopTraining("at once"), at=1)
    trained.recorder.close()
    assert trained.profile.recorded is None
    assert "ended before a chunk was recorded" in trained.profile.problem


def test_another_recording_in_the_process_is_left_alone(profiling, tmp_path):
    jax.profiler.start_trace(tmp_path / "theirs")
    try:
        trained = run(profiling, tmp_path, StopTraining("enough"), at=3)
    finally:
        jax.profiler.stop_trace()  # raises if it was stopped
    trained.recorder.close()
    assert trained.profile.recorded is None
    assert trained.profile.problem


@pytest.mark.parametrize(("steps", "most"), [(1, 1), (4, 1), (5, 1), (40, 10), (100_000, 256)])
def test_until_it_is_recorded_chunks_are_cut_so_that_there_are_enough(tmp_path, steps, most, monkeypatch):
    began, ended = [], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder, **options: began.append(folder))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: ended.append(True))
    pace = Pace(most=1000)
    profile = Profile(tmp_path, pace, steps=steps)
    assert (pace.most, pace.steps) == (most, min(most, 8))
    step = 0
    for chunk in range(steps):
        step = min(steps, step + pace.steps)
        profile(SimpleNamespace(step=step, is_last=step == steps, state=()))
        assert len(ended) == (chunk >= CHUNKS or (step == steps and steps > 1))
        if step == steps or ended:
            break
        pace.update(pace.steps, 1e-6)
    profile.close()
    assert len(began) == len(ended) == (steps > 1)
    assert (pace.most, pace.target) == (1000, 1.0)
    assert (profile.problem == "the run is a single step, and that one compiles") == (steps == 1)
