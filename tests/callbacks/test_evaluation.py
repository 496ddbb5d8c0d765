"""Evaluations are passed to the callbacks after them."""

from callback_events import event

from dltrain.callbacks.evaluation import Evaluate


def test_evaluate_passes_its_results_to_later_callbacks():
    here = event()
    Evaluate(lambda state, split: f"{split} of {state}", ("validation", "train"))(here)
    assert here.results == {"validation": "validation of state", "train": "train of state"}
    assert here.epoch == 1.0
