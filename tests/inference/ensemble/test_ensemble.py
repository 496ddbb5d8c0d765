"""An ensemble is used like a run, and predicts the mean of its members."""

import numpy as np
import polars as pl
import pytest

from dltrain.errors import ConfigError
from dltrain.inference.ensemble.ensemble import Ensemble


def mean_of(runs, new):
    return np.mean([run.predict(new)["probability"] for run in runs], 0)


def test_it_predicts_the_mean_of_probabilities_with_the_temperature(made, new):
    ensemble = made.seeds
    plain = Ensemble(ensemble.folder, ensemble.runs)
    mean = mean_of(ensemble.runs, new)
    np.testing.assert_allclose(plain.predict(new)["probability"], mean, rtol=1e-5)
    found = ensemble.predict(new)
    expected = 1 / (1 + ((1 - mean) / mean) ** (1 / ensemble.temperature))
    np.testing.assert_allclose(found["probability"], expected, rtol=1e-4)
    np.testing.assert_array_equal(found["class"], (mean > 0.5).astype(int))
    assert found["class"].dtype == ensemble.runs[0].predict(new)["class"].dtype
    assert ensemble.temperature != 1 and found.columns["class"][0] in ("small", "large")


def test_each_member_encodes_by_what_was_fitted_to_its_own_examples(made, new):
    one, two = (run.bundle.encoder for run in made.folds.runs)
    assert one.to_json() != two.to_json()  # other medians
    plain = Ensemble(made.folds.folder, made.folds.runs)
    np.testing.assert_allclose(plain.predict(new)["probability"], mean_of(made.folds.runs, new), rtol=1e-5)


def test_an_ensemble_of_one_run_is_that_run(made, new, tmp_path):
    run = made.runs["seed"]
    alone = Ensemble(run.folder, [run])
    for name, values in run.predict(new).items():
        np.testing.assert_allclose(alone.predict(new)[name], values, rtol=1e-6)
    np.testing.assert_array_equal(alone.outputs(new), run.outputs(run.bundle.encode(new)))
    for split in ("validation", "test"):
        mine, its = alone.evaluate(split), run.evaluate(split)
        assert mine.keys() == its.keys()
        for name, value in its.items():
            np.testing.assert_allclose(mine[name], value, rtol=1e-5)
    new.write_csv(tmp_path / "new.csv")
    for name, model in (("run", run), ("alone", alone)):
        model.predict_file(tmp_path / "new.csv", str(tmp_path / f"{name}.csv"))
    first, second = (pl.read_csv(tmp_path / f"{name}.csv") for name in ("run", "alone"))
    assert first.columns == second.columns and first["class"].equals(second["class"])
    np.testing.assert_allclose(first["probability_large"], second["probability_large"], rtol=1e-6)


def test_a_file_has_the_mean_of_the_files_of_the_members(made, new, dltrain, tmp_path):
    """The members of `folds` have other encoders, so the file is read by both; a bad row stays in its place."""
    gaps = pl.when(pl.int_range(25) % 2 == 0).then(None).otherwise(pl.col("size")).alias("size")
    lines = new.with_columns(gaps).write_csv().splitlines()  # each encoder has a median of its own for the gaps
    lines[3] = ",".join("big" if i == 2 else field for i, field in enumerate(lines[3].split(",")))
    (tmp_path / "new.csv").write_text("\n".join(lines))
    found = []
    for name in ("folds", "sweep/0", "sweep/1"):
        output = f"output={tmp_path / name.replace('/', '-')}.csv"
        result = dltrain("predict", str(made.folder / name), f"input={tmp_path / 'new.csv'}", output, "keep=[town]")
        assert result.code == 0 and "1 of 25 examples have empty predictions" in result.err, result.err
        found.append(pl.read_csv(output.removeprefix("output=")))
    together, *members = found
    assert together.columns == members[0].columns and together["town"].equals(members[0]["town"])
    assert together["class"].is_null().to_list() == [i == 2 for i in range(25)]
    mean = np.mean([one["probability_large"].drop_nulls().to_numpy() for one in members], 0)
    odds = ((1 - mean) / mean) ** (1 / made.folds.temperature)
    np.testing.assert_allclose(together["probability_large"].drop_nulls().to_numpy(), 1 / (1 + odds), rtol=1e-4)
    assert f"mean of 2 runs, temperature {made.folds.temperature:.3g}" in result_of(dltrain, made, tmp_path)


def result_of(dltrain, made, place):
    words = (f"input={place / 'new.csv'}", f"output={place / 'again.csv'}")
    return dltrain("predict", str(made.folder / "folds"), *words).out


def test_given_examples_are_evaluated_as_those_of_a_split(made):
    program, examples = made.seeds.program, made.seeds.split_of(0, "test")
    raw = program.parts.source.read(examples)
    found = made.seeds.evaluate(inputs=raw["inputs"], targets=raw["targets"])
    expected = made.seeds.evaluate("test")
    assert {n: v for n, v in found.items() if np.ndim(v) == 0} == pytest.approx(
        {n: v for n, v in expected.items() if np.ndim(v) == 0}, rel=1e-4
    )


def test_scores_are_those_of_the_mean(made):
    scores = made.seeds.scores("test", resamples=50)
    targets = made.seeds.program.parts.source.read(made.seeds.split_of(0, "test"))["targets"]
    outputs = made.seeds.outputs_of(made.seeds.split_of(0, "test"))
    accuracy = ((outputs[:, 0] > 0) == targets).mean()
    assert scores.metrics["accuracy"].value == pytest.approx(accuracy)
    assert scores.metrics["loss"].value == pytest.approx(np.logaddexp(0, outputs[:, 0] * (1 - 2 * targets)).mean())
    assert len(scores.worst) == len(targets) == scores.examples


def test_a_split_that_members_were_trained_on_is_refused(made):
    assert made.folds.splits() == ["test"] and made.seeds.splits() == ["train", "validation", "test"]
    for split in ("validation", "train"):
        with pytest.raises(ConfigError, match=f"have different {split} examples.*use split=test"):
            made.folds.evaluate(split)
    with pytest.raises(ConfigError, match="either a split, or inputs"):
        made.folds.evaluate()
    with pytest.raises(ConfigError, match="is for a single run"):
        made.folds.scores("test", tta="flip")
