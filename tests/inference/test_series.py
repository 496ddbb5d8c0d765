"""A run on a series: in memory and streamed alike, evaluated again, and used on windows given from Python."""

import csv
import json

import numpy as np
import pytest

from dltrain import api, training
from dltrain.inference.open import bundle_of

pytestmark = pytest.mark.usefixtures("quickly_compiled")

WORDS = (
    "data=series",
    "data.time=date",
    "data.look_back=12",
    "data.horizon=4",
    "data.season=6",
    "data.borders=[60,80,100]",
    "epochs=2",
    "optim.learning_rate=0.05",
    "quiet=true",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("series") / "waves.csv"
    times = np.datetime64("2024-01-01", "h") + np.arange(100) * np.timedelta64(1, "h")
    waves = 10 * np.sin(np.arange(100) * 2 * np.pi / 6)[:, None] + rng.normal(0, 1, (100, 2)) + [[50, 500]]
    rows = [f"{time},{one:.4f},{two:.4f}" for time, (one, two) in zip(times.astype("M8[s]"), waves, strict=True)]
    path.write_text("\n".join(["date,one,two", *rows]).replace("T", " "), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def train(dltrain, file, tmp_path_factory):
    """Train; return folder, summary, output and the program."""

    def run(*words, figures=False):
        folder, made = tmp_path_factory.mktemp("runs") / "run", []
        with pytest.MonkeyPatch.context() as patch:
            plain = training.Program
            patch.setattr(training, "Program", lambda *args: made.append(plain(*args)) or made[-1])
            result = dltrain(*WORDS, f"data.path={file}", f"output_dir={folder}", *words, figures=figures)
        assert result.code == 0, result.err
        return folder, json.loads((folder / "summary.json").read_text()), result, made[0]

    return run


@pytest.fixture(scope="module")
def plain(train):
    return train(figures=True)


def test_the_task_follows_from_the_data_and_errors_by_step_are_written(plain):
    folder, summary, _, program = plain
    assert str(program.parts.spec.task) == "forecasting" and len(program.parts.splits.test) == 17
    with (folder / "report" / "per_step.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    best = summary["best"]["test"]
    assert len(rows) == 4 and np.mean([float(row["mse"]) for row in rows]) == pytest.approx(best["mse"], rel=1e-6)
    assert best["rmse"] == pytest.approx(best["mse"] ** 0.5, rel=1e-6)
    assert {"forecasts.png", "per_step.png"} <= {path.name for path in (folder / "report").glob("*.png")}


def test_in_memory_and_streamed_give_the_same_state_and_metrics(plain, train):
    _, streamed, _, program = plain
    _, resident, _, other = train("data.feed=resident")
    assert program.parts.arrays is None and other.parts.arrays is not None
    for part in ("hash", "test", "validation", "best"):
        assert streamed[part] == resident[part]


@pytest.mark.parametrize("feed", ["auto", "resident"])
def test_evaluating_a_run_repeats_its_final_metrics(plain, feed):
    folder, summary, *_ = plain
    found = api.open_run(folder, f"data.feed={feed}", checkpoint="last").evaluate("test")
    assert {name: found[name] for name in summary["test"]} == summary["test"]
    assert found["per_step"].shape == (4, 4)


def test_windows_given_from_python_are_forecast_and_evaluated_as_those_of_the_run(plain):
    folder, summary, _, program = plain
    opened = api.open_run(folder, checkpoint="last")
    read = program.parts.source.read(program.parts.splits.test)
    found = opened.bundle.evaluate(read["inputs"], read["targets"])
    assert {name: found[name] for name in summary["test"]} == summary["test"]
    outputs = opened.bundle.outputs(read["inputs"])
    assert np.square(outputs - read["targets"]).mean() == pytest.approx(summary["test"]["mse"], rel=1e-5)


def test_metrics_may_be_those_of_standardised_values(plain, train):
    _, summary, *_ = plain
    folder, found, _, program = train("data.metrics_in=standardised")
    assert found["hash"] == summary["hash"]
    assert found["test"]["mse"] == pytest.approx(found["test"]["loss"], rel=1e-5)
    scale, parts = program.parts.preprocess.target_scaling.scale, program.parts
    outputs = api.open_run(folder, checkpoint="last").bundle.outputs(parts.source.read(parts.splits.test)["inputs"])
    error = (outputs - parts.source.read(parts.splits.test)["targets"]) / scale
    assert np.square(error).mean() == pytest.approx(found["test"]["mse"], rel=1e-5)


@pytest.mark.slow
def test_quantiles_cover_and_are_decided_as_a_value_in_an_interval(train):
    words = ("loss=quantile", "loss.q=[0.1,0.5,0.9]", "data.metrics_in=standardised", "epochs=20")
    _, summary, result, program = train(*words, figures=True)
    assert "warning" not in result.err and "last season" in str(summary["baselines"])
    parts = program.parts
    state = program.start()
    outputs = bundle_of(program, state).outputs(parts.source.read(parts.splits.test)["inputs"])
    assert outputs.shape == (17, 4, 2, 3)
    decided = parts.spec.task.decide(outputs, parts.spec)
    assert (decided["low"] <= decided["value"]).all() and (decided["value"] <= decided["high"]).all()
    assert 0.3 < summary["test"]["coverage"] <= 1


@pytest.mark.slow
def test_models_of_other_data_forecast_too(train):
    for model in ("linear", "gru"):
        _, summary, _, program = train(f"model={model}", "epochs=1")
        assert program.module.shape == (4, 2) and np.isfinite(summary["test"]["mse"])


def test_folds_are_refused_since_they_would_see_the_future(dltrain, file):
    result = dltrain(*WORDS, f"data.path={file}", "data.folds=3", "dry_run=true")
    assert result.code == 2 and "data.folds=3: windows of a series overlap" in result.err
