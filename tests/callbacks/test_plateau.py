"""The plateau schedule reduces the rate as PyTorch's does, and resumes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dltrain.callbacks.best import Best
from dltrain.callbacks.plateau import Patience, Plateau
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState

LOSSES = [1.0, 0.9, 0.95, 0.899, 0.91, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.76, 0.5, 0.51, 0.52, 0.53, 0.54, 0.55]
EMPTY = TrainState(0, 0, 0, {}, {}, {}, {}, {"scale": np.float32(1)}, True, 0)


def scales(plateau, losses, state=EMPTY):
    found = []
    for step, loss in enumerate(losses, 1):
        results = {"validation": Evaluation({"loss": loss}, {}, np.zeros(0, int), np.zeros(0))}
        outcome = plateau(TrainEvent(step, 100, 10, state, None, results))
        state = outcome.state if outcome else state
        found.append(float(state.hparams["scale"]))
    return found, state


def make(**options):
    return Plateau(Best("validation", "loss", False), Patience(**options))


@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("min_delta", [0.0, 0.01])
def test_scales_equal_pytorch_which_waits_one_evaluation_longer(cooldown, min_delta):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD.__new__(torch.optim.SGD)  # whose __init__ imports a compiler for seconds
    optimizer.param_groups = [{"lr": 1.0}]
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, threshold=min_delta, threshold_mode="abs", cooldown=cooldown, min_lr=0.1
    )
    expected = []
    for loss in LOSSES:
        theirs.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    found, _ = scales(make(factor=0.5, patience=2, min_delta=min_delta, cooldown=cooldown, min_scale=0.1), LOSSES)
    assert len(set(found)) > 2
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_restored_plateau_continues_as_if_uninterrupted():
    options = {"factor": 0.5, "patience": 2, "cooldown": 1}
    straight, _ = scales(make(**options), LOSSES)
    for cut in range(1, len(LOSSES)):
        first, second = make(**options), make(**options)
        before, state = scales(first, LOSSES[:cut])
        second.restore(json.loads(json.dumps(first.state())))
        assert before + scales(second, LOSSES[cut:], state)[0] == straight


def test_plateau_ignores_events_without_evaluation():
    event = SimpleNamespace(results={})
    assert make(patience=1)(event) is None
