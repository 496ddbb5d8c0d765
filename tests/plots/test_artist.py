"""Figures drawn in a process of their own are those that this process would draw; if it fails, this one does."""

import ast
import importlib
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from dltrain.kinds import Kind
from dltrain.plots import artist
from dltrain.plots.plot import plot, pngs_of

PLOTS = {
    "curves": plot("curves.curves", {"train": {"step": [1, 2], "loss": [2.0, 1.0]}}, best_step=2).with_caption(
        "two"
    ),
    "samples": plot(
        "samples.samples", np.eye(4)[None, ..., None], Kind.IMAGE, np.array([0]), np.array([1]), np.array([0.5])
    ),
}
SOURCES = sorted(Path(importlib.import_module("dltrain").__file__).parent.rglob("*.py"))


@pytest.fixture(scope="module")
def started():
    """The process that draws."""
    with artist.leaving():
        artist.start()
        yield artist._artists[0]


def test_another_process_draws_the_same_figures(started, monkeypatch):
    here = pngs_of(PLOTS)
    monkeypatch.setattr(artist, "pngs_of", lambda plots: 1 / 0)  # nothing is drawn here
    assert artist.draw_pngs(PLOTS) == here


def test_the_function_of_a_user_is_called_here(started, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setattr(type(started), "draw", lambda *given: 1 / 0)  # which could call this one, too
    assert artist.draw_pngs({"own": plot(Figure)})["own"].startswith(b"\x89PNG")


@pytest.mark.parametrize("given", [({"train": 1 / 3},), (lambda: None,)], ids=["cannot be drawn", "cannot be sent"])
def test_an_error_is_that_of_drawing_here(started, given):
    with pytest.raises((TypeError, AttributeError)) as found:
        artist.draw_pngs({"wrong": plot("curves.curves", *given)})
    assert any(entry.path.name == "curves.py" for entry in found.traceback)
    assert artist.draw_pngs(PLOTS).keys() == PLOTS.keys()  # the next ones are drawn there


def test_figures_are_drawn_here_once_it_has_ended(started):
    os.kill(started._process.pid, signal.SIGKILL)
    started._process.wait()
    assert artist.draw_pngs(PLOTS) == pngs_of(PLOTS)


def test_figures_are_drawn_here_where_no_process_can_be_started(monkeypatch):
    def fail(*about, **how):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(artist.subprocess, "Popen", fail)
    monkeypatch.setattr(artist, "_artists", [])
    artist.start()
    assert artist.draw_pngs({"curves": PLOTS["curves"]})["curves"].startswith(b"\x89PNG")


def test_it_ends_when_that_is_left():
    # A list of its own: the other tests' process goes on.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artist, "_artists", [])
        with artist.leaving():
            artist.start()
            artist.start()
            (only,) = artist._artists
        assert only._process.poll() is not None and artist._artists == []


def test_every_figure_has_the_function_that_draws_it():
    named = [
        call.args[0].value
        for path in SOURCES
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "plot"
        if isinstance(call.args[0], ast.Constant)
    ]
    assert len(named) > 15
    for function in named:
        module, name = function.split(".")
        assert callable(getattr(importlib.import_module(f"dltrain.plots.{module}"), name)), function
