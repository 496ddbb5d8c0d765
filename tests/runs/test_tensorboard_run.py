"""The TensorBoard files of a real run, read with TensorBoard's own reader and server."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.metadata import parse_session_end_info_plugin_data as end_info
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data as start_info
from tensorboard.util import tensor_util


@pytest.fixture(scope="module")
def board(digits_run):
    """Readers by subfolder: of the run itself, and of each split."""
    folders = {"": "", "train": "train", "validation": "validation", "test": "test"}
    place, unlimited = digits_run.folder / "tensorboard", {"scalars": 0, "tensors": 0}
    return {n: EventAccumulator(str(place / f), size_guidance=unlimited).Reload() for n, f in folders.items()}


def test_train_and_validation_are_on_the_same_charts(board, digits_run):
    tags = {split: set(board[split].Tags()["scalars"]) for split in ("train", "validation", "test")}
    assert tags["validation"] == tags["test"] == {"loss", "accuracy", "f1"}
    assert {"loss", "accuracy"} <= tags["train"]
    assert "memory/host_peak_bytes" in board[""].Tags()["scalars"]
    assert [p.step for p in board["train"].Scalars("loss")] == [5, 10, 15, 20, 25]
    assert [p.step for p in board["validation"].Scalars("loss")] == [13, 26]
    (point,) = board["test"].Scalars("accuracy")
    assert point.value == pytest.approx(digits_run.summary["test"]["accuracy"])


def test_training_logs_rate_norms_and_speed(board):
    train = board["train"]
    for tag in ("learning_rate", "gradient_norm", "parameter_norm", "examples_per_second"):
        values = np.array([p.value for p in train.Scalars(tag)])
        assert len(values) == 5 and (values > 0).all() and np.isfinite(values).all(), tag
    assert [p.value for p in train.Scalars("learning_rate")] == pytest.approx([0.02] * 5)


def test_histograms_count_all_values_of_every_parameter(board, digits_run):
    run = board[""]
    sizes = {"hidden.0.kernel": 64 * 16, "hidden.0.bias": 16, "head.kernel": 160, "head.bias": 10}
    for name, size in sizes.items():
        found = run.Tensors(name)
        assert [t.step for t in found] == [13, 26]
        assert run.SummaryMetadata(name).plugin_data.plugin_name == "histograms"
        assert tensor_util.make_ndarray(found[-1].tensor_proto)[:, 2].sum() == size


def test_figures_of_the_report_are_written(board, digits_run):
    run = board[""]
    for name in ("samples", "confusion_matrix", "curves"):
        assert run.SummaryMetadata(name).plugin_data.plugin_name == "images"
        width, height, png = tensor_util.make_ndarray(run.Tensors(name)[-1].tensor_proto).tolist()
        assert png == (digits_run.folder / "report" / f"{name}.png").read_bytes()
        assert int(width) > 200 and int(height) > 200


def test_config_is_a_text_and_modules_are_a_graph(board, digits_run):
    text = tensor_util.make_ndarray(board[""].Tensors("config")[0].tensor_proto).item().decode()
    assert text == f"```yaml\n{(digits_run.folder / 'config.yaml').read_text()}\n```"
    nodes = {node.name for node in board[""].Graph().node}
    assert any("hidden" in n for n in nodes) and any("head" in n for n in nodes)


def test_hyperparameters_and_session_end_are_written(board):
    content = {
        t: board[""].SummaryMetadata(t).plugin_data.content for t in board[""].Tags()["tensors"] if "_hparams_" in t
    }
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
                if len(get("runs")) == 4:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        yield get
    finally:
        process.kill()
        process.wait()


def test_server_shows_scalars_images_and_hparams(ask, digits_run):
    points = ask("plugin/scalars/scalars?run=tensorboard/validation&tag=accuracy")
    assert [step for _, step, _ in points] == [13, 26]
    assert points[-1][2] == pytest.approx(digits_run.summary["validation"]["accuracy"])
    assert [p["step"] for p in ask("plugin/images/images?run=tensorboard&tag=confusion_matrix&sample=0")] == [26]
    states = [f"STATUS_{word}" for word in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    wanted = {"allowedStatuses": states, "startIndex": 0, "sliceSize": 10, "colParams": []}
    (group,) = ask("plugin/hparams/session_groups", wanted)["sessionGroups"]
    metrics = {(m["name"]["group"], m["name"]["tag"]): m["value"] for m in group["metricValues"]}
    assert metrics["test", "accuracy"] == pytest.approx(digits_run.summary["test"]["accuracy"])
    assert group["sessions"][0]["status"] == "STATUS_SUCCESS"
