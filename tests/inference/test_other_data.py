"""A run is evaluated on other data: encoded as in training, all of it, with the classes numbered as before."""

import numpy as np
import polars as pl
import pytest

import dltrain as package
from dltrain.errors import ConfigError, DataError

WORDS = ("data=table", "data.target=kind", "model=linear", "epochs=2", "batch_size=32", "quiet=true")


def frame(count: int, seed: int, cities=("Rome", "Oslo")) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, city = rng.normal(size=(count, 2)).round(4) * [1, 50], rng.choice(cities, count)
    kind = np.array(["low", "middle", "high"])[np.clip(np.round(x[:, 0] + (city == "Rome")), -1, 1).astype(int) + 1]
    return pl.DataFrame({"x": x[:, 0], "y": x[:, 1], "city": city, "kind": kind})


@pytest.fixture(scope="module")
def run(dltrain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    frame(150, 0).write_csv(folder / "train.csv")
    result = dltrain(*WORDS, "data.path=train.csv", "output_dir=run", cwd=folder, figures=False)
    assert result.code == 0, result.err
    return folder / "run"


def test_all_rows_are_evaluated_with_what_was_fitted_in_training(run):
    rows = frame(70, 1, cities=("Rome", "Lima"))  # of which the second is unknown
    rows = rows.with_columns(pl.when(pl.int_range(70) % 9 == 0).then(None).otherwise(pl.col("y")).alias("y"))
    path = run.parent / "more.csv"
    rows.select("kind", "city", "y", "x").write_csv(path)
    opened = package.open_run(run, f"data.path={path}")
    assert opened.splits() == ["other"] and opened.other_data == "more.csv"
    found = opened.evaluate("other")
    own = package.open_run(run)
    given = own.bundle.evaluate(rows.drop("kind"), rows["kind"].to_list())
    assert {n: v for n, v in found.items() if n != "confusion"} == {
        n: v for n, v in given.items() if n != "confusion"
    }
    np.testing.assert_array_equal(found["confusion"], given["confusion"])
    assert opened.program.parts.source.where(3) == f"{path}, line 5"
    with pytest.raises(ConfigError, match=r"split=test: all of more\.csv is evaluated"):
        opened.evaluate("test")


def test_the_runs_own_data_at_another_place_keeps_its_splits(run):
    path = run.parent / "moved.csv"
    path.write_bytes((run.parent / "train.csv").read_bytes())
    opened = package.open_run(run, f"data.path={path}")
    assert opened.other_data == "" and opened.splits() == ["train", "validation", "test"]
    assert opened.evaluate("test")["loss"] == package.open_run(run).evaluate("test")["loss"]


def test_one_class_is_enough(run):
    path = run.parent / "low.csv"
    rows = frame(90, 2).filter(pl.col("kind") == "low")
    rows.write_csv(path)
    found = package.open_run(run, f"data.path={path}").scores("other", resamples=0)
    assert found.examples == len(rows) == next(p for p in found.parts if p.name == "low").counts["examples"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.with_columns(pl.lit("huge").alias("kind")),
            "line 2: its class huge was not among those of tra",
        ),
        (lambda f: f.drop("x"), "data.path=.*bad.csv: inputs: the column x is missing"),
        (lambda f: f.drop("kind"), "data.target=kind: bad.csv has no such column"),
    ],
)
def test_what_does_not_fit_is_refused(run, change, message):
    path = run.parent / "bad.csv"
    change(frame(20, 3)).write_csv(path)
    with pytest.raises(DataError, match=message):
        package.open_run(run, f"data.path={path}").evaluate("other")


@pytest.mark.slow
def test_arrays_have_other_data_too(dltrain, tmp_path):
    rng = np.random.default_rng(0)

    def save(name, count, classes):
        inputs = rng.normal(size=(count, 4)).astype(np.float32)
        np.savez(tmp_path / name, inputs=inputs, targets=np.array(classes)[rng.integers(0, len(classes), count)])
        return inputs

    save("train.npz", 90, ["a", "b", "c"])
    words = ("data=arrays", "data.path=train.npz", "model=linear", "epochs=1", "quiet=true", "output_dir=run")
    assert dltrain(*words, cwd=tmp_path, figures=False).code == 0
    inputs = save("other.npz", 30, ["b", "c"])
    opened = package.open_run(tmp_path / "run", f"data.path={tmp_path / 'other.npz'}")
    targets = np.load(tmp_path / "other.npz")["targets"].tolist()
    assert (
        opened.evaluate("other")["loss"]
        == package.open_run(tmp_path / "run").evaluate(inputs=inputs, targets=targets)["loss"]
    )
    np.savez(tmp_path / "wide.npz", inputs=np.zeros((9, 5), np.float32), targets=np.arange(9) % 3)
    with pytest.raises(DataError, match=r"inputs: .*found numbers \[5\], expected numbers \[4\]"):
        package.open_run(tmp_path / "run", f"data.path={tmp_path / 'wide.npz'}").evaluate("other")


@pytest.mark.slow
def test_windows_of_another_series_are_all_evaluated(dltrain, tmp_path):
    def save(name, rows):
        values = 10 * np.sin(np.arange(rows))
        (tmp_path / name).write_text("load\n" + "\n".join(f"{value:.3f}" for value in values) + "\n")

    save("train.csv", 80)
    save("other.csv", 40)
    words = (
        "data=series",
        "data.path=train.csv",
        "data.look_back=6",
        "data.horizon=2",
        "data.stride=3",
        "epochs=1",
    )
    assert dltrain(*words, "quiet=true", "output_dir=run", cwd=tmp_path, figures=False).code == 0
    opened = package.open_run(tmp_path / "run", f"data.path={tmp_path / 'other.csv'}")
    found = opened.scores("other", resamples=100)
    assert found.examples == 40 - 6 - 2 + 1
    assert "windows share rows" in found.to_json()["intervals"]["note"]
    assert [step.name for step in found.steps] == ["1", "2"]
    read = opened.program.parts.source.read(np.arange(33))
    given = package.open_run(tmp_path / "run").bundle.evaluate(read["inputs"], read["targets"])
    assert found.metrics["mse"].value == pytest.approx(given["mse"], rel=1e-6)  # summed in other batches
