"""The board of a sweep says what runs, what has ended and how, the best so far, and the time left."""

import io
from types import SimpleNamespace

import pytest

from dltrain.report.sweeps.board import Board


def make_board(jobs=10, **about) -> tuple[Board, SimpleNamespace]:
    clock = SimpleNamespace(now=100.0)
    return Board(jobs, now=lambda: clock.now, **about), clock


def test_jobs_are_counted_by_how_they_ended():
    board, _ = make_board(before=3)
    for number, summary in enumerate(({"steps": 3}, {"stop_reason": "pruned: x"}, None)):
        with board.job(number, "a=1") as follow:
            follow(summary)
    with pytest.raises(KeyboardInterrupt), board.job(3, "a=2"):
        raise KeyboardInterrupt  # it has not ended
    board.begin(4, "a=3")
    assert board.lines(80) == [
        "6 of 10 jobs ended, 1 pruned, 1 failed, 1 running; 0s left",
        "job 4  starting  0%  a=3",
    ]


def test_the_time_left_follows_from_the_share_of_steps_that_is_done():
    board, clock = make_board(jobs=5, before=1)
    board.begin(1, "a")
    board.begin(2, "b")
    clock.now += 10
    assert "left" not in board.lines(80)[0]
    board.progress(1, step=5, total=10, epoch=1.0)
    board.progress(2, step=10, total=20, epoch=1.0)
    assert board.lines(80)[0].endswith("; 30s left")  # 1 of 4 jobs took 10 s
    board.end(1, "trained")
    clock.now += 5
    assert board.lines(80)[0] == "2 of 5 jobs ended, 1 running; 25s left"  # 1.5 of 4 jobs in 15 s


def test_no_line_is_longer_than_the_terminal_and_no_board_is_higher():
    board, _ = make_board(jobs=100)
    board.lead(3, "optim.learning_rate=0.001 " * 9, "validation/accuracy 0.9")
    for number in range(40):
        board.begin(number, "model.widths=[64,64,64] optim.learning_rate=0.0123456 data.augment=none")
        board.progress(number, step=number, total=40, epoch=number / 4, metric="validation/accuracy 0.5")
    lines = board.lines(60, height=9)
    assert len(lines) == 8 and max(map(len, lines)) == 60
    assert lines[0] == "0 of 100 jobs ended, 40 running; 0s left" and lines[1].startswith(
        "best    job 3  validation"
    )
    assert (
        lines[2].startswith("job 0  epoch 0.0   0%  validation/accuracy 0.5  model") and "and 35 more" in lines[-1]
    )


def test_the_metric_of_the_last_evaluation_stays():
    board, _ = make_board()
    plan = SimpleNamespace(monitor=SimpleNamespace(split="validation", name="loss"))
    own, *others = board.watching(7, lambda plan: ["other"])(plan)
    assert others == ["other"]
    board.begin(7, "a=1")
    found = {"validation": SimpleNamespace(scalars={"loss": 0.25})}
    own(SimpleNamespace(step=2, total=8, epoch=0.5, results=found))
    own(SimpleNamespace(step=4, total=8, epoch=1.0, results={}))
    assert board.lines(80)[1] == "job 7  epoch 1.0  50%  validation/loss 0.2500  a=1"


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_it_is_shown_on_a_terminal_unless_quiet(monkeypatch, terminal, quiet, shown):
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    board, _ = make_board(quiet=quiet)
    with board.shown(), board.job(0, "a=1"):
        print("a line of a job")
    board.say()
    assert ("of 10 jobs ended" in out.getvalue()) == shown and "a line of a job" in out.getvalue()
