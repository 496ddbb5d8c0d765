"""Which job's figures are drawn, and when."""

import os
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dltrain.engine.loop import Loop
from dltrain.report import finish
from dltrain.report.finish import Finished
from dltrain.runs import saver
from dltrain.sweep import together, train
from dltrain.sweep.best import Best
from dltrain.sweep.measure import Choice

LINE = ("-m", "data=iris", "data.split_seed=7", "model=linear", "quiet=true", "eval_every=3", "steps=6")
RATES = "optim.learning_rate=0.01,0.03,0.1"


def a_job(number: int, constraints: tuple[str, ...] = ()) -> Any:
    config = {"sweep": {"constraints": constraints}}
    return SimpleNamespace(number=number, composed=SimpleNamespace(config=config))


def ended(value: float, draw: Any = None) -> Finished:
    results = {"validation": {"accuracy": value}}
    about = {"monitor": "validation/accuracy", "higher_is_better": True, "best_step": 1, "steps": 1}
    return Finished({**results, "best": results, **about}, draw or (lambda: None))


def foresee(best: Best, jobs: list) -> None:
    ends = together.Ends([job for job, _ in jobs], best)
    for job, finished in jobs:
        ends.foresee(job, finished)
    assert ends.wait(0)
    ends.best.draw()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_equal_jobs_the_first_one_leads(order):
    best, drawn = Best(), []
    for number in order:
        best.consider(a_job(number), ended(0.5 if number else 0.25, lambda number=number: drawn.append(number)))
    best.draw()
    assert best.leads == 1 and drawn == [1]


def test_figures_that_are_drawn_ahead_are_not_drawn_again():
    best, drawn = Best(), []
    jobs = [(a_job(i), ended(value, lambda i=i: drawn.append(i))) for i, value in enumerate((0.5, 0.75, 0.25))]
    foresee(best, jobs)
    assert drawn == [1] and best.leads is None  # none has ended
    for job, finished in jobs:
        best.consider(job, finished)
    best.draw()
    assert drawn == [1]


def test_if_the_expected_job_fails_the_next_one_is_drawn():
    best, drawn = Best(), []
    jobs = [(a_job(i), ended(value, lambda i=i: drawn.append(i))) for i, value in enumerate((0.5, 0.75, 0.25))]
    foresee(best, jobs)
    for job, finished in (jobs[0], jobs[2]):
        best.consider(job, finished)
    best.draw()
    assert drawn == [1, 0]


def test_an_earlier_job_that_stays_the_best_is_drawn_ahead():
    best, drawn = Best(), []
    best.consider(a_job(0), ended(0.75, lambda: drawn.append(0)))
    foresee(best, [(a_job(1), ended(0.5, lambda: drawn.append(1)))])
    assert drawn == [0]
    best.draw()
    assert drawn == [0]


@pytest.mark.usefixtures("quickly_compiled")
def test_the_best_job_is_drawn_before_the_jobs_have_written_their_last_states(dltrain, tmp_path, monkeypatch):
    """A write waits until the figures are drawn: they would never be, if they came after it."""
    monkeypatch.setattr(train, "choose_lanes", lambda program, **about: Choice(3, 2, "as tested"))
    monkeypatch.setattr(together.artist, "start", lambda: None)
    drawn, draw, save = threading.Event(), finish.draw, saver.checkpoint.save

    def note(*about, **how):
        draw(*about, **how)
        drawn.set()

    def wait(folder, step, *about):
        assert step < 6 or drawn.wait(60)
        return save(folder, step, *about)

    monkeypatch.setattr(finish, "draw", note)
    monkeypatch.setattr(saver.checkpoint, "save", wait)
    result = dltrain(*LINE, RATES, "output_dir=grid", cwd=tmp_path)
    assert result.code == 0, result.err
    with_figures = [path.parent.parent.name for path in (tmp_path / "grid").glob("[0-9]/report/curves.png")]
    assert len(with_figures) == 1 and (tmp_path / "grid/report/slices.png").exists()


@pytest.mark.usefixtures("quickly_compiled")
def test_a_sweep_that_is_stopped_waits_for_no_job_that_does_not_begin(dltrain, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "choose_lanes", lambda program, **about: Choice(2, 2, "as tested"))
    monkeypatch.setattr(together.artist, "start", lambda: None)
    drawn, run = [], Loop.run

    def stop(loop, *about, **how):
        os.kill(os.getpid(), signal.SIGINT)
        return run(loop, *about, **how)

    monkeypatch.setattr(finish, "draw", lambda *about, **how: drawn.append(about[1].path.name))
    monkeypatch.setattr(Loop, "run", stop)
    result = dltrain(*LINE, f"{RATES},0.3", "output_dir=grid", cwd=tmp_path)
    assert result.code == 130 and "job 3 did not train" in result.err, result.err
    assert not drawn
    monkeypatch.setattr(Loop, "run", run)
    resumed = dltrain("-m", "--resume", "grid", cwd=tmp_path)
    assert resumed.code == 0 and len(drawn) == 1, resumed.err
