"""A monitored metric that is NaN is said, before training where that is known, and stops nothing."""

import json

import numpy as np
import pytest
from callback_events import event
from few import few

from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping
from dltrain.callbacks.plateau import Patience, Plateau
from dltrain.engine.events import StopTraining

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")
INLINE = ("data=inline", "model=linear", "optim=sgd", "optim.learning_rate=0.05", "epochs=8", "quiet=true")
TABLE = ("data.inputs=[1,2,3,4,5,6]", "data.targets=[2,4,6,8,10,12]")
CONSTANT = ("data.inputs=[1,2,3,4,5,6]", "data.targets=[2,2,2,2,2,2]", "data.scale=none")
KNOWN = {
    "one example": (*TABLE, "data.validation=0.17"),
    "equal targets": (*CONSTANT, "data.validation=0.34"),
}
WHY = {"one example": "it has one example", "equal targets": "its targets are all equal"}


@few("monitor", ["auto", "validation/r2"], 1)
@pytest.mark.parametrize("case", KNOWN)
@pytest.mark.slow
def test_a_metric_known_to_be_nan_is_replaced_by_the_loss_with_a_warning(case, monitor, dltrain, tmp_path):
    run = tmp_path / "run"
    words = ("early_stopping.patience=2", f"monitor={monitor}", f"output_dir={run}")
    said = dltrain(*INLINE, *KNOWN[case], *words)
    assert said.code == 0
    assert f"warning: validation/r2 is NaN, whatever the model predicts: {WHY[case]}" in said.err
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["monitor"], summary["steps"]) == ("validation/loss", 8)


def test_an_absent_class_is_known_before_training(dltrain):
    words = ("data=iris", "model=linear", "metrics=[auroc]", "monitor=validation/auroc", "data.validation=0.02")
    said = dltrain(*words, "dry_run=true", "quiet=true")
    assert "warning: validation/auroc is NaN, whatever the model predicts: it has no example of" in said.err


def looks(callback, best, values):
    for step, value in enumerate(values, 1):
        here = event(step, found={"r2": value, "loss": 1.0})
        best(here)
        callback(here)


def test_early_stopping_does_not_act_on_a_metric_that_was_never_finite():
    said = []
    best = Best("validation", "r2", True, warn=said.append)
    stopping = EarlyStopping(best, patience=2)
    looks(stopping, best, [np.nan] * 9)
    assert stopping.waited == 0 and len(said) == 1
    assert "validation/r2 is nan at the first evaluation" in said[0] and "monitor=validation/loss" in said[0]
    with pytest.raises(StopTraining, match="no better validation r2 in 2 evaluations"):
        looks(stopping, best, [0.5, np.nan, np.nan])


def test_plateau_does_not_act_on_a_metric_that_was_never_finite():
    best = Best("validation", "r2", True)
    plateau = Plateau(best, Patience(patience=2))
    looks(plateau, best, [np.nan] * 9)
    assert plateau.waited == 0


def test_a_metric_that_is_finite_gives_no_warning():
    said = []
    best = Best("validation", "r2", True, warn=said.append)
    looks(EarlyStopping(best, patience=9), best, [0.1, np.nan, 0.2])
    assert not said
