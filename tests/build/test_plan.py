"""Config -> plan: durations become steps, and the monitored metric is one that is computed."""

from dataclasses import replace

import numpy as np
import pytest

from dltrain.build.plan import Monitor, make_plan
from dltrain.durations import Duration
from dltrain.errors import ConfigError
from dltrain.metrics import IoU

CONFIG = {
    "seed": 0,
    "steps": None,
    "epochs": 3,
    "min_steps": None,
    "examples": None,
    "stop": {"loss": None, "gradient_norm": None, "change": None, "time": None},
    "optim": {"ema": None},
    "overfit_batches": 0,
    "monitor": "auto",
    "task": {"monitor": ["accuracy"]},
    "early_stopping": {"patience": None, "min_delta": 0.0},
    "checkpoint_every": "auto",
    "keep_every": None,
    "eval_every": "1ep",
    "eval_batch_size": None,
    "log_every": 10,
    "schedule": {"stretch": False, "warmup_epochs": None},
    "on_nonfinite": "stop",
    "profile": False,
    "data": {"threads": 2, "timeout": 60.0, "folds": None},
    "runtime": {"precision": "float32", "mesh": "auto", "rules": []},
    "sweep": {"objectives": []},
}


@pytest.fixture(scope="module")
def parts(make_parts):
    return make_parts()  # 43 examples in batches of 8: six steps an epoch


def plan(parts, **changes):
    return make_plan({**CONFIG, **changes}, parts)


def without_validation(parts):
    return replace(parts, splits=replace(parts.splits, validation=np.zeros(0, np.int32)))


@pytest.mark.parametrize(
    ("given", "total"),
    [
        ({"epochs": 3}, 18),
        ({"epochs": 0.5}, 3),
        ({"epochs": 0.01}, 1),
        ({"epochs": 3, "min_steps": 20}, 20),
        ({"epochs": 3, "min_steps": 17}, 18),
        ({"steps": 7, "min_steps": 20}, 7),
        ({"steps": 7}, 7),
        ({"steps": 7, "epochs": 3}, 7),
        ({"examples": 60}, 9),  # an epoch of 43 examples in six steps, and 17 examples in three
    ],
)
def test_epochs_become_steps_and_steps_go_first(parts, given, total):
    assert plan(parts, **given).total == total


def test_the_monitored_metric_is_the_accuracy_if_there_is_one_else_the_loss(parts):
    assert plan(parts).monitor == Monitor("validation", "accuracy", True)
    poor = replace(parts, metrics={"confusion": parts.metrics["confusion"]})
    assert plan(poor).monitor == Monitor("validation", "loss", False)
    assert plan(parts, monitor="validation/loss").monitor == Monitor("validation", "loss", False)
    assert plan(parts, monitor=None).monitor is None
    assert str(plan(parts).monitor) == "validation/accuracy"
    assert plan(parts, task={"monitor": ["r2", "accuracy"]}).monitor == Monitor("validation", "accuracy", True)
    assert plan(parts, task={"monitor": []}).monitor == Monitor("validation", "loss", False)
    assert plan(parts, task={"monitor": None}).monitor is None


def test_a_split_is_evaluated_while_training_if_it_is_monitored(parts):
    assert plan(parts).splits == ("validation",)
    assert plan(parts, monitor="train/loss").splits == ("validation", "train")
    assert plan(without_validation(parts)).splits == ()
    assert plan(without_validation(parts)).monitor is None
    assert plan(without_validation(parts), monitor="train/accuracy").splits == ("train",)


def test_overfitting_monitors_the_training_examples(parts):
    found = plan(parts, overfit_batches=1, monitor="validation/loss")
    assert (found.splits, found.monitor, found.overfit) == (("train",), Monitor("train", "accuracy", True), True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"monitor": "validation/acuracy"}, r"monitor=validation/acuracy: is not computed.*validation/accuracy"),
        ({"monitor": "test/accuracy"}, r"monitor=test/accuracy: is not computed"),
        ({"monitor": "validation/confusion"}, r"validation/confusion: is not a single number"),
        ({"eval_every": "1 week"}, r"eval_every=1 week: must be a number of steps"),
        ({"checkpoint_every": 0}, r"checkpoint_every=0: must be"),
    ],
)
def test_what_cannot_be_monitored_or_counted_is_named(parts, change, message):
    with pytest.raises(ConfigError, match=message):
        plan(parts, **change)


def test_one_class_of_a_metric_can_be_watched_and_all_of_them_cannot(parts):
    each = {"iou": IoU("none", spec=parts.spec)}
    parts = replace(parts, metrics=parts.metrics | each, better=parts.better | {"iou": "higher"})
    assert plan(parts).monitor == Monitor("validation", "accuracy", True)  # not iou, which is not a number
    assert plan(parts, monitor="validation/iou/b").monitor == Monitor("validation", "iou/b", True)
    with pytest.raises(ConfigError, match=r"validation/iou: is not a single number.*validation/iou/a"):
        plan(parts, monitor="validation/iou")


def test_without_validation_examples_nothing_can_be_monitored_there(parts):
    with pytest.raises(ConfigError, match=r"there are no validation examples; set data\.validation=0\.1"):
        plan(without_validation(parts), monitor="validation/loss")
    patient = {"early_stopping": {"patience": 3, "min_delta": 0.0}}
    with pytest.raises(ConfigError, match=r"early_stopping\.patience: needs validation examples"):
        plan(without_validation(parts), **patient)
    assert plan(parts, **patient).patience == 3


def test_a_checkpoint_is_saved_each_epoch_and_every_five_minutes_by_default(parts):
    assert plan(parts).save_every == (Duration(1, "ep"), Duration(5, "min"))
    assert plan(parts, checkpoint_every="2h").save_every == (Duration(2, "h"),)


def test_evaluation_takes_large_batches_but_no_larger_than_the_split(parts):
    assert plan(parts).eval_batch_size == 12  # the test split
    assert plan(parts, eval_batch_size=5).eval_batch_size == 5
    large = replace(parts, splits=replace(parts.splits, test=np.arange(10_000, dtype=np.int32)))
    assert plan(large).eval_batch_size == 256


def test_a_chunk_holds_no_more_steps_than_the_shortest_interval(parts):
    assert plan(parts, eval_every=4, checkpoint_every="2h").intervals == (4,)
    assert plan(parts).intervals == (6, 6)
