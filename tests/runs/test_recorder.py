"""Metrics are written once, however often a run is interrupted and resumed."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import After, StepLogs, TrainEvent
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder

STATE = SimpleNamespace(params={"kernel": np.ones((2, 2), np.float32)})


def chunk(first, count, *, accuracy=None):
    """The end of a chunk of these steps, whose loss is the step's number; evaluated if an accuracy is given."""
    loss = np.zeros(16, np.float32)
    loss[:count] = np.arange(first, first + count)
    logs = StepLogs(first, count, {"loss": loss, "finite": np.ones(16), "examples": np.full(16, 8.0)})
    results = {}
    if accuracy is not None:
        results["validation"] = Evaluation({"loss": 2.5, "accuracy": accuracy}, {}, np.zeros(0), np.zeros(0))
    return TrainEvent(first + count - 1, 100, 10, STATE, logs, results)


def rows(folder):
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


def start(path, *, step=0, log_every=2):
    return Recorder(RunFolder(path), log_every=log_every, batch_size=8, start_step=step)


@pytest.fixture
def cut(tmp_path):
    """A run that logged steps 2, 4, ... 10 and an evaluation at 4 and 8, and died while it wrote a line."""
    recorder = start(tmp_path)
    recorder(chunk(1, 4, accuracy=0.5))
    recorder(chunk(5, 4, accuracy=0.75))
    recorder(chunk(9, 3)).read()
    recorder.close()
    with recorder.folder.metrics.open("a") as file:
        file.write('{"step": 12, "split": "tr')
    return recorder.folder


def test_only_every_nth_step_is_written_with_the_mean_since_the_last_row(tmp_path):
    recorder = start(tmp_path, log_every=3)
    recorder(chunk(1, 4, accuracy=0.5))
    assert isinstance(recorder(chunk(5, 5)), After)
    assert [row["step"] for row in rows(recorder.folder)] == [3, 4]  # the second chunk was not read yet
    recorder(chunk(5, 5)).read()
    found = [(r["step"], r["split"], r["loss"]) for r in rows(recorder.folder)]
    assert found == [(3, "train", 2.0), (4, "validation", 2.5), (6, "train", 5.0), (9, "train", 8.0)]
    assert all("finite" not in row and "examples" not in row for row in rows(recorder.folder))
    assert rows(recorder.folder)[0]["examples_per_second"] > 0
    recorder.close()


@pytest.mark.parametrize(("step", "kept"), [(8, [2, 4, 4, 6, 8, 8]), (5, [2, 4, 4]), (0, [])])
def test_restart_drops_later_steps_and_a_truncated_line(cut, step, kept):
    recorder = start(cut.path, step=step)
    assert [row["step"] for row in rows(cut)] == kept
    assert sorted(r["step"] for split in recorder.history.values() for r in split) == kept
    recorder.close()


def test_no_step_is_written_twice_after_a_restart(cut):
    recorder = start(cut.path, step=6)
    recorder(chunk(7, 2, accuracy=0.875))
    recorder(chunk(9, 4)).read()
    recorder.close()
    found = [(row["step"], row["split"]) for row in rows(cut)]
    assert found == [(2, "train"), (4, "train"), (4, "validation"), (6, "train"), (8, "train"), (8, "validation"),
                     (10, "train"), (12, "train")]  # fmt: skip
    with cut.results.open() as file:
        table = list(csv.DictReader(file))
    assert [(r["step"], r["accuracy"]) for r in table] == [("4", "0.5"), ("8", "0.875")]


def test_non_finite_values_keep_the_file_readable(tmp_path):
    recorder = start(tmp_path, log_every=1)
    event = chunk(1, 2, accuracy=float("nan"))
    event.logs.arrays["loss"][1] = np.inf
    recorder(event)
    recorder.close()
    text = recorder.folder.metrics.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert [row["loss"] for row in rows(recorder.folder)] == [1.0, None, 2.5]
    assert rows(recorder.folder)[2]["accuracy"] is None


def test_results_have_a_row_per_evaluation_and_no_training_steps(cut):
    with cut.results.open() as file:
        table = list(csv.DictReader(file))
    assert [(r["step"], r["split"], float(r["accuracy"])) for r in table] == [
        ("4", "validation", 0.5),
        ("8", "validation", 0.75),
    ]


def batches(first, losses, examples):
    """The end of a chunk of steps with these losses, of batches of so many examples."""
    arrays = {"loss": np.float32(losses), "accuracy": np.float32(losses) / 2, "gradient_norm": np.float32(losses)}
    logs = StepLogs(first, len(losses), {**arrays, "finite": np.isfinite(losses), "examples": np.float32(examples)})
    return TrainEvent(first + len(losses) - 1, 100, 10, STATE, logs, {})


def test_training_metrics_are_weighted_by_examples_and_norms_are_of_one_step(tmp_path):
    recorder = start(tmp_path, log_every=3)
    recorder(batches(1, [1.0, 2.0, 8.0], [8, 8, 2])).read()
    recorder.close()
    (row,) = rows(recorder.folder)
    assert (row["loss"], row["accuracy"], row["gradient_norm"]) == (40 / 18, 20 / 18, 8.0)


def test_a_step_that_was_not_finite_does_not_count(tmp_path):
    recorder = start(tmp_path, log_every=2)
    recorder(batches(1, [1.0, np.nan, np.inf, np.nan], [8, 8, 8, 8])).read()
    recorder.close()
    assert [row["loss"] for row in rows(recorder.folder)] == [1.0, None]


def test_means_do_not_depend_on_chunks_or_on_where_a_run_was_resumed(tmp_path):
    losses = np.random.default_rng(0).random(30).astype(np.float32) ** 9
    found = []
    for cuts in ([30], [1] * 30, [7, 16, 7]):
        first, folder = 1, tmp_path / str(len(found))
        folder.mkdir()
        recorder = start(folder, log_every=10)
        for count in cuts:
            recorder(batches(first, losses[first - 1 : first - 1 + count], [8] * count)).read()
            first += count
            recorder.close()
            saved = json.loads(json.dumps(recorder.state()))
            recorder = start(folder, step=first - 1, log_every=10)
            recorder.restore(saved)
        recorder.close()
        found.append([row["loss"] for row in rows(recorder.folder)])
    assert len(found[0]) == 3 and found[0] == found[1] == found[2]


def test_the_training_since_the_last_evaluation_is_kept_for_its_line(tmp_path):
    recorder = start(tmp_path)
    recorder(chunk(1, 3)).read()
    recorder(chunk(4, 1, accuracy=0.5))
    assert recorder.trained == {"loss": 2.5}
    recorder(chunk(5, 1, accuracy=0.5))
    assert recorder.trained == {"loss": 5.0}
    recorder.close()


@pytest.mark.parametrize(
    ("name", "split", "tag"),
    [
        ("loss", "train", "loss/train"),
        ("loss/generator", "train", "loss/generator/train"),
        ("accuracy", "validation", "monitored/accuracy/validation"),
        ("f1", "validation", "other metrics/f1/validation"),
        ("gradient_norm", "train", "training/gradient_norm"),
        ("accuracy", "test", "results/final/test/accuracy"),
    ],
)
def test_tags_are_grouped_so_that_loss_and_monitored_metric_come_first(tmp_path, name, split, tag):
    recorder = Recorder(RunFolder(tmp_path), log_every=1, batch_size=8, monitored="accuracy")
    assert recorder.tag(name, split) == tag
    recorder.close()
    assert sorted(["training", "results", "monitored", "loss", "other metrics"])[:2] == ["loss", "monitored"]
