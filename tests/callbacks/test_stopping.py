"""Each rule ends training for its reason, at the step computed by hand."""

import json

import pytest
from callback_events import event

from dltrain.callbacks.stopping import OutOfTime, StopBelow
from dltrain.engine.events import StopTraining, TrainEvent

pytestmark = pytest.mark.usefixtures("quickly_compiled")

# x = 1, 2 and y = 2, 4: gradient descent by hand is in `steps_until`
WORDS = ("data=inline", "data.inputs=[1,2]", "data.targets=[2,4]", "data.scale=none", "data.validation=0")
WORDS = (*WORDS, "model=linear", "loss=mse", "optim=gd", "optim.learning_rate=0.1", "batch_size=all")
WORDS = (*WORDS, "epochs=500", "checkpoint_every=1000", "output_dir=run", "quiet=true")


@pytest.fixture
def summary_of(dltrain, tmp_path, without_figures):
    def run(*words):
        result = dltrain(*WORDS, *words, cwd=tmp_path)
        assert result.code == 0, result.err
        return json.loads((tmp_path / "run" / "summary.json").read_text())

    return run


def steps_until(reached):
    """The first step whose (loss before it, norm of the gradient, norm of the change) is as wanted."""
    w = b = 0.0
    for step in range(1, 1000):
        errors = [w + b - 2, 2 * w + b - 4]
        dw, db = errors[0] + 2 * errors[1], errors[0] + errors[1]
        norm = (dw**2 + db**2) ** 0.5
        if reached((errors[0] ** 2 + errors[1] ** 2) / 2, norm, 0.1 * norm):
            return step
        w, b = w - 0.1 * dw, b - 0.1 * db
    raise AssertionError


@pytest.mark.parametrize(
    ("word", "reached", "reason"),
    [
        (
            "stop.loss=0.03",
            lambda loss, norm, change: loss < 0.03,
            "loss of the last batch 0.03 is below stop.loss",
        ),
        ("stop.gradient_norm=0.1", lambda loss, norm, change: norm < 0.1, "is below stop.gradient_norm=0.1"),
        ("stop.change=0.02", lambda loss, norm, change: change < 0.02, "is below stop.change=0.02"),
    ],
)
def test_bound_ends_training_where_it_is_reached(summary_of, word, reached, reason):
    summary = summary_of(word)
    assert reason.split(" 0.03 ")[-1] in summary["stop_reason"]
    assert summary["steps"] == steps_until(reached)
    assert 1 < summary["steps"] < 500


def test_time_limit_ends_training_at_the_end_of_the_chunk(summary_of):
    summary = summary_of("stop.time=0.001s")
    assert summary["stop_reason"] == "time limit reached: 0.001 s of training (stop.time)"
    assert summary["steps"] < 500


def test_clock_counts_earlier_segments():
    spent = 3.0
    rule = OutOfTime(7.0, lambda: spent)
    event = TrainEvent(1, 2, 1, None, None)
    assert rule(event) is None
    spent = 7.0
    with pytest.raises(StopTraining, match="time limit reached"):
        rule(event)


def test_stop_below_ends_training_at_the_loss():
    stop = StopBelow(0.5)
    stop(event())
    stop(event(found={"loss": 0.5}))
    with pytest.raises(StopTraining, match=r"validation loss is below 0\.5"):
        stop(event(found={"loss": 0.49}))
