"""The output of a run: lines without a terminal, one live line with one, nothing if quiet."""

import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import StepLogs, TrainEvent
from dltrain.report import console
from dltrain.report.console import Progress, Screen, clock, print_warning, shown


def event(step, *, found=None):
    logs = {"loss": np.array([9.0, 0.25, 7.0]), "finite": np.ones(3), "examples": np.array([1, 3, 5.0])}
    logs = StepLogs(step - 1, 2, logs)
    results = {} if found is None else {"validation": Evaluation(found, {}, np.zeros(0), np.zeros(0))}
    return TrainEvent(step, 100, 10, None, logs, results)


@pytest.fixture
def recorder():
    history = {"validation": [{"step": 10, "loss": 1.0, "accuracy": 0.75}]}
    return SimpleNamespace(speed=1234.0, waiting=0.0, history=history, trained={"loss": 0.625, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (-0.25, "-0.2500"),
        (1e-5, "1e-05"),
        (123456.0, "1.235e+05"),
        (float("nan"), "nan"),
        (None, "undefined"),
    ],
)
def test_numbers_can_be_read(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0s"), (59.4, "59s"), (59.6, "1:00"), (65, "1:05"), (7384, "2:03:04"), (-3, "0s")]
)
def test_times_can_be_read(seconds, text):
    assert clock(seconds) == text


def test_an_evaluation_is_printed_at_once_with_the_training_since_the_last_one(recorder, capsys):
    found = {"loss": 0.5, "accuracy": 0.9, "f1/a": 0.1} | {f"metric_{i}": 0.1 for i in range(20)}
    Progress(Screen(), recorder, metric="accuracy", start=0)(event(20, found=found))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "epoch      2  step      20  train       loss 0.6250  accuracy 0.5000"
    assert lines[1].startswith(
        "epoch      2  step      20  validation  loss 0.5000  accuracy 0.9000  metric_0 0.1000"
    )
    assert len(lines) == 2 and "f1/a" not in lines[1]


def test_without_a_terminal_there_is_a_sign_of_life_every_ten_seconds(recorder, capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    progress = Progress(Screen(), recorder, metric="accuracy", start=0)
    spoken = []
    for now, step in ((1005.0, 20), (1011.0, 40), (1020.0, 50), (1021.5, 60)):  # noqa: B007 - the clock reads it
        progress(event(step)).read()
        spoken.append(capsys.readouterr().out)
    assert [bool(text) for text in spoken] == [False, True, False, True]
    line = "step 40/100  16s left  train loss 2.4375  validation accuracy 0.7500  1,234 examples/s  epoch 4.00\n"
    assert spoken[1] == line  # 60 steps to go, 11 s for the first 40; the loss is the mean of 4 examples


def test_waiting_for_data_is_reported_if_it_takes_more_than_a_twentieth(recorder, capsys, monkeypatch):
    ticks = itertools.count(0.0, 50.0)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    for share, result in ((0.04, False), (0.4, True)):
        recorder.waiting = share
        Progress(Screen(), recorder, metric=None, start=0)(event(20)).read()
        assert ("40% of the time waiting for data" in capsys.readouterr().out) is result


def test_time_left_counts_the_steps_of_this_start_only(recorder, capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    progress = Progress(Screen(), recorder, metric=None, start=90)
    now = 10.0
    progress(event(95)).read()
    assert "10s left" in capsys.readouterr().out


def test_quiet_prints_only_warnings(recorder, capsys):
    screen = Screen(quiet=True)
    screen.say("something")
    Progress(screen, recorder, metric=None, start=0)(event(20, found={"loss": 1.0})).read()
    print_warning("careful")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "dltrain: careful\n")


def test_on_a_terminal_one_line_is_replaced_and_taken_away_at_the_end(recorder):
    screen, out = Screen(), io.StringIO()
    screen.console = Console(file=out, force_terminal=True, width=60, highlight=False, legacy_windows=False)
    progress = Progress(screen, recorder, metric="accuracy", start=0)
    for step in (20, 40):
        progress(event(step)).read()
    screen.end_live()
    screen.end_live()
    assert "40/100  0s left  train" in out.getvalue()
    assert out.getvalue().count("\n") <= 1  # cut to the width, never a second line
    assert "\x1b[2K" in out.getvalue()


def test_brackets_in_a_text_are_not_markup(capsys):
    Screen().say("optim.clip={norm: 1.0} [bold] [/nothing]")
    assert capsys.readouterr().out == "optim.clip={norm: 1.0} [bold] [/nothing]\n"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (120, "step 40/100  10s left  train loss 2.4375  validation accuracy 0.7500  1,234 examples/s  epoch 4.00"),
        (80, "step 40/100  10s left  train loss 2.4375  validation accuracy 0.7500"),
        (40, "40/100  10s left  train 2.4375"),
        (10, "40/100  10s left"),
    ],
)
def test_the_live_line_keeps_the_time_left_at_every_width(recorder, monkeypatch, width, line):
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 0.0))
    lines, screen = [], Screen()
    screen.console = Console(file=io.StringIO(), force_terminal=True, width=width)
    monkeypatch.setattr(screen, "live", lines.append)
    progress = Progress(screen, recorder, metric="accuracy", start=0)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 20 / 3))
    progress(event(40)).read()
    assert lines == [line]


def test_a_terminal_breaks_lines_between_words_and_leaves_commands_whole():
    screen, out = Screen(), io.StringIO()
    screen.console = Console(
        file=out, force_terminal=True, width=24, highlight=False, soft_wrap=True, color_system=None
    )
    screen.say("data    digits: 1294 train, 144 validation")
    screen.say("next    dltrain evaluate outputs/2026-01-01/run", whole=True)
    assert out.getvalue().splitlines() == [
        "data    digits: 1294",
        "        train, 144",
        "        validation",
        "next    dltrain evaluate outputs/2026-01-01/run",
    ]


def test_what_takes_long_is_a_line_without_a_terminal(capsys):
    Screen().doing("compiling")
    Screen(quiet=True).doing("drawing")
    assert capsys.readouterr().out == "compiling\n"
