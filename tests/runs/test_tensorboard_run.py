"""The TensorBoard files of a real run, read with TensorBoard's own reader and server."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.metadata import parse_session_end_info_plugin_data as end_info
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data as start_info
from tensorboard.util import tensor_util


@pytest.fixture(scope="module")
def board(digits_run):
    """The reader of the run."""
    unlimited = {"scalars": 0, "tensors": 0}
    return EventAccumulator(str(digits_run.folder / "tensorboard"), size_guidance=unlimited).Reload()


def test_a_run_folder_is_one_run_whose_tags_begin_with_their_group(board, digits_run):
    assert [p.name for p in (digits_run.folder / "tensorboard").iterdir() if p.is_dir()] == []
    tags = set(board.Tags()["scalars"])
    for split in ("train", "validation"):
        assert {f"loss/{split}", f"monitored/accuracy/{split}"} <= tags
    assert {"other metrics/f1/validation", "training/host_peak_bytes", "results/best/step"} <= tags
    assert sorted({tag.partition("/")[0] for tag in tags})[:2] == ["loss", "monitored"]  # as TensorBoard sorts them
    assert [p.step for p in board.Scalars("loss/train")] == [5, 10, 15, 20, 25]
    assert [p.step for p in board.Scalars("loss/validation")] == [13, 26]


def test_results_are_those_of_the_summary_and_name_their_steps(board, digits_run):
    summary = digits_run.summary

    def last(tag):
        (point,) = board.Scalars(f"results/{tag}")
        return point.value

    assert (last("best/step"), last("final/step")) == (summary["best_step"], summary["steps"])
    for split in ("validation", "test"):
        for name in ("loss", "accuracy", "f1"):
            assert last(f"best/{split}/{name}") == pytest.approx(summary["best"][split][name])
    assert last("final/test/accuracy") == pytest.approx(summary["test"]["accuracy"])


def test_train_and_validation_are_drawn_together_in_custom_scalars(board):
    tensor = tensor_util.make_ndarray(board.Tensors("custom_scalars__config__")[0].tensor_proto).item()
    (category,) = Layout.FromString(tensor).category
    found = {chart.title: chart.multiline.tag[0] for chart in category.chart}
    assert set(found) == {"loss", "accuracy"}
    for chart, tag in (("loss", "loss/train"), ("accuracy", "monitored/accuracy/validation")):
        assert re.fullmatch(found[chart], tag)


def test_training_logs_rate_norms_and_speed(board):
    for tag in ("learning_rate", "gradient_norm", "parameter_norm", "examples_per_second"):
        values = np.array([p.value for p in board.Scalars(f"training/{tag}")])
        assert len(values) == 5 and (values > 0).all() and np.isfinite(values).all(), tag
    assert [p.value for p in board.Scalars("training/learning_rate")] == pytest.approx([0.02] * 5)


def test_histograms_count_all_values_of_every_parameter(board, digits_run):
    run = board
    sizes = {"hidden.0.kernel": 64 * 16, "hidden.0.bias": 16, "head.kernel": 160, "head.bias": 10}
    for name, size in sizes.items():
        found = run.Tensors(f"weights/{name}")
        assert [t.step for t in found] == [13, 26]
        assert run.SummaryMetadata(f"weights/{name}").plugin_data.plugin_name == "histograms"
        assert tensor_util.make_ndarray(found[-1].tensor_proto)[:, 2].sum() == size


def test_figures_of_the_report_are_written(board, digits_run):
    run = board
    for name in ("samples", "confusion_matrix", "curves"):
        assert run.SummaryMetadata(f"report/{name}").plugin_data.plugin_name == "images"
        width, height, png = tensor_util.make_ndarray(run.Tensors(f"report/{name}")[-1].tensor_proto).tolist()
        assert png == (digits_run.folder / "report" / f"{name}.png").read_bytes()
        assert int(width) > 200 and int(height) > 200


def test_config_is_a_text_without_what_is_not_set(board, digits_run):
    text = tensor_util.make_ndarray(board.Tensors("config")[0].tensor_proto).item().decode()
    shown = yaml.safe_load(text.removeprefix("```yaml\n").removesuffix("```"))
    saved = yaml.safe_load((digits_run.folder / "config.yaml").read_text())
    assert "null" in (digits_run.folder / "config.yaml").read_text() and "null" not in text
    assert shown["model"]["widths"] == [16] and shown["batch_size"] == 100
    assert all(shown.get(key) == value for key, value in saved.items() if isinstance(value, int | float | str))


def test_the_graph_has_the_modules_in_the_order_of_the_calls(board):
    nodes = {node.name: list(node.input) for node in board.Graph().node}
    assert nodes == {
        "inputs": [],
        "hidden.0": ["inputs"],
        "relu": ["hidden.0"],
        "head": ["relu"],
        "outputs": ["head"],
    }


def test_hyperparameters_and_session_end_are_written(board):
    content = {t: board.SummaryMetadata(t).plugin_data.content for t in board.Tags()["tensors"] if "_hparams_" in t}
    start = start_info(content[SESSION_START_INFO_TAG])
    values = {n: v.number_value or v.string_value or v.bool_value for n, v in start.hparams.items()}
    assert values["optim.learning_rate"] == 0.02 and values["model"] == "mlp" and values["data"] == "digits"
    assert values["batch_size"] == 100 and values["model.widths"] == "[16]"
    assert end_info(content[SESSION_END_INFO_TAG]).status == 1  # STATUS_SUCCESS


@pytest.fixture(scope="module")
def ask(digits_run):
    """Query a TensorBoard server for the run: `ask(path, body)`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(digits_run.folder)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/data/{path}", data, headers=head)
        with opener.open(request, timeout=5) as answer:
            return json.loads(answer.read())

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < end
            try:
                if len(get("runs")) == 1:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        yield get
    finally:
        process.kill()
        process.wait()


def test_server_shows_scalars_images_and_hparams(ask, digits_run):
    points = ask("plugin/scalars/scalars?run=tensorboard&tag=monitored/accuracy/validation")
    assert [step for _, step, _ in points] == [13, 26]
    assert points[-1][2] == pytest.approx(digits_run.summary["validation"]["accuracy"])
    assert [
        p["step"] for p in ask("plugin/images/images?run=tensorboard&tag=report/confusion_matrix&sample=0")
    ] == [26]
    states = [f"STATUS_{word}" for word in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    wanted = {"allowedStatuses": states, "startIndex": 0, "sliceSize": 10, "colParams": []}
    (group,) = ask("plugin/hparams/session_groups", wanted)["sessionGroups"]
    metrics = {(m["name"]["group"], m["name"]["tag"]): m["value"] for m in group["metricValues"]}
    found = metrics["", "results/best/test/accuracy"]
    assert found == pytest.approx(digits_run.summary["best"]["test"]["accuracy"])
    assert group["sessions"][0]["status"] == "STATUS_SUCCESS"
