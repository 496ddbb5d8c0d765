"""Each task fits its YAML, equals another of its class, and accepts only data that it is made for."""

import json

import numpy as np
import pytest
import yaml

from dltrain import tasks
from dltrain.build.model import make_task
from dltrain.config.folders import packaged
from dltrain.errors import ConfigError
from dltrain.types import Spec

FILES = sorted(path for path in (packaged() / "task").glob("*.yaml") if path.stem != "auto")
FITS = {
    "classification": {"label", "yes or no"},
    "binary": {"yes or no"},
    "ordinal": {"label", "yes or no"},
    "regression": {"numbers"},
    "multitarget": {"numbers"},
    "count": {"numbers"},
    "forecasting": {"steps"},
    "multilabel": {"labels"},
    "language": {"text"},
    "generation": {"text"},
    "segmentation": {"pixels"},
    "reconstruction": None,
    "energy": None,
    "adversarial": None,
}
"""Task -> the targets that it accepts, None for all."""


def built(path):
    node = yaml.safe_load(path.read_text())
    return make_task({"task": {**node, "models": []}, "loss": {}}, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_yaml_and_class_have_one_name_and_the_class_accepts_the_data_that_it_is_for(path, spec_of, targets):
    task = built(path)
    assert str(task) == path.stem and task == built(path) and hash(task) == hash(built(path))
    taken = set()
    for target in targets:
        try:
            task.check(spec_of(target))
        except ConfigError as error:
            assert str(error).startswith(f"task={task}: ")
        else:
            taken.add(target)
    assert taken == (FITS[path.stem] or targets)


def test_tasks_differ_by_class():
    assert len({built(path) for path in FILES}) == len(FILES) == len(FITS)
    assert tasks.Binary() != tasks.Classification() and tasks.Generation() != tasks.Language()


def test_a_spec_is_the_same_after_json_with_its_task(spec_of):
    spec = spec_of("label", tasks.Classification())
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())), task=tasks.Classification())
    assert again == spec and again != Spec.from_json(spec.to_json(), task=tasks.Binary())


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        (tasks.Binary(), "label", "task=binary: needs two classes, the data has 3; try task=classification"),
        (tasks.Classification(), "numbers", "needs one class per example as targets, and this data has numbers"),
        (tasks.Classification(), "pixels", r"needs one class per example, found classes of shape \[4, 4\]"),
        (tasks.Segmentation(), "label", "needs a class for each pixel, and this data has one per example"),
        (
            tasks.Regression(),
            "label",
            r"needs numbers as targets, and this data has one class per example \(a, b, c\)",
        ),
        (tasks.Regression(), "whole numbers", "task=regression: targets must be floats, found int32"),
        (tasks.Regression(), "steps", r"found \[3, 2\]; task=forecasting predicts steps of columns"),
        (tasks.Forecasting(), "numbers", r"needs steps of numbers as targets, float \[H, C\], found float32 \[2\]"),
        (tasks.Language(), "numbers", "needs tokens as targets, and this data has numbers"),
    ],
)
def test_data_that_does_not_fit_is_named(task, target, message, spec_of):
    with pytest.raises(ConfigError, match=message):
        task.check(spec_of(target))


@pytest.mark.parametrize(("path"), FILES, ids=lambda path: path.stem)
def test_every_task_has_a_number_of_outputs_and_its_decision_is_an_entry_of_decide(path, spec_of):
    task = built(path)
    spec = spec_of(min(FITS[path.stem] or {"label"}), task)
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(5, spec.outputs))
    outputs = {"data": plain[:, 0], "model": plain[:, 0], "real": plain[:, 0], "reconstruction": plain}
    shaped = {"language": plain[:, None], "generation": plain[:, None], "segmentation": plain[:, None, None]}
    given = outputs if path.stem in ("energy", "adversarial") else shaped.get(path.stem, plain)
    decided = task.decide(given, spec)
    assert task.decision in decided
    assert all(len(np.asarray(value)) == 5 for value in decided.values())
