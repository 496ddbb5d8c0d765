"""Out-of-fold predictions are those of the model that was not trained on the example."""

import numpy as np
import polars as pl
import pytest

from dltrain.errors import DataError
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.ensemble.folds import OutOfFold, out_of_fold, out_of_fold_csv
from dltrain.tasks import Forecasting, Multilabel, Regression
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.slow  # trains on another worker what test_ensemble.py has trained


def test_each_example_is_predicted_by_the_model_of_its_fold(made):
    found = pl.read_csv(made.folder / "sweep/out_of_fold.csv")
    program = made.folds.program
    for fold, run in enumerate(made.folds.runs):
        mine = found.filter(pl.col("fold") == fold)
        examples = mine["example"].to_numpy()
        np.testing.assert_array_equal(examples, made.folds.split_of(fold, "validation"))
        assert not set(examples) & set(made.folds.split_of(fold, "train"))
        outputs = run.program.outputs(run.placed_state, examples.astype(np.int32))
        np.testing.assert_allclose(mine["probability_large"], 1 / (1 + np.exp(-outputs[:, 0])), rtol=1e-5)
        targets = program.parts.source.read(examples)["targets"]
        assert mine["kind"].to_list() == [program.parts.spec.classes[t] for t in targets]
    used = np.concatenate([made.folds.split_of(0, name) for name in ("train", "validation")])
    assert found["example"].to_list() == sorted(used)


def test_an_example_in_two_folds_is_refused(made):
    run = made.runs["sweep/0"]
    with pytest.raises(DataError, match="is in two folds"):
        out_of_fold(Ensemble(run.folder, [run, made.runs["seed"]]))


def given(kind, task, values, outputs, **about) -> pl.DataFrame:
    count = len(values)
    target = Feature(kind, values.shape[1:], str(values.dtype), **about)
    spec = Spec({"x": Feature(Kind.NUMBERS, (1,), "float32")}, {"target": target}, task)
    found = OutOfFold(np.arange(count), np.arange(count) % 2, outputs.astype(np.float32), values)
    return pl.read_csv(out_of_fold_csv(found, spec).encode())


def test_numbers_labels_and_steps_have_columns_of_their_own():
    rng = np.random.default_rng(0)
    values, outputs = rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=(4, 2, 3))
    frame = given(Kind.NUMBERS, Regression((0.1, 0.5, 0.9)), values, outputs, names=("a", "b"))
    assert frame.columns[:6] == ["example", "fold", "a", "b", "predicted_a", "predicted_b"]
    np.testing.assert_allclose(frame["b"], values[:, 1], rtol=1e-5)
    np.testing.assert_allclose(frame["predicted_b"], np.sort(outputs, -1)[:, 1, 1], rtol=1e-5)
    frame = given(Kind.LABELS, Multilabel(), np.array([[1, 1], [0, 1]]), outputs[:2, :, 0], vocabulary=("p", "q"))
    assert frame["target"].to_list() == ["p|q", "q"]
    steps = rng.normal(size=(2, 3, 1)).astype(np.float32)
    frame = given(Kind.NUMBERS, Forecasting(), steps, steps + 1, names=("load",))
    assert frame["step"].to_list() == [1, 2, 3, 1, 2, 3] and frame["example"].to_list() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(frame["load"], steps.reshape(-1), rtol=1e-5)
    np.testing.assert_allclose(frame["predicted_load"], steps.reshape(-1) + 1, rtol=1e-5)
