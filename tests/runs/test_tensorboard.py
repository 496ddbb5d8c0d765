"""Event files are read back with TensorBoard's own reader, and over HTTP from a TensorBoard server."""

import json
import math
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

from dltrain.errors import DiskError
from dltrain.models.linear import Linear
from dltrain.runs.graph import graph_def
from dltrain.runs.tensorboard import BUCKETS, SESSION, EventWriter, with_hparams

PNG = bytes.fromhex(  # one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6368000000820081772cd2140000000049454e44ae426082"
)


def read(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def events(path) -> list:
    """All events of a file; the reader checks the checksums."""
    return [Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]


def tensor(folder, tag: str) -> np.ndarray:
    return tensor_util.make_ndarray(read(folder).Tensors(tag)[-1].tensor_proto)


def test_scalars_are_read_back_with_step_time_and_value(tmp_path):
    writer = EventWriter(tmp_path)
    for step in range(3):
        writer.scalars(step, {"loss": 1 / (step + 1), "accuracy": step}, wall_time=1000.0 + step)
    writer.scalars(3, {"loss": math.nan, "accuracy": math.inf})
    writer.close()
    found = read(tmp_path)
    assert found.Tags()["scalars"] == ["loss", "accuracy"]
    points = found.Scalars("loss")[:3]
    assert [(p.step, p.wall_time) for p in points] == [(0, 1000.0), (1, 1001.0), (2, 1002.0)]
    np.testing.assert_allclose([p.value for p in points], [1, 1 / 2, 1 / 3], rtol=1e-6)
    assert math.isnan(found.Scalars("loss")[3].value) and found.Scalars("accuracy")[3].value == math.inf


def test_histograms_count_every_finite_value_once(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 50)).astype(np.float32)
    with_gaps = np.concatenate([values.ravel()[:100], [np.nan, np.inf, -np.inf]])
    writer = EventWriter(tmp_path)
    writer.histograms(1, {"kernel": values, "gaps": with_gaps, "same": np.full(7, 2.5), "none": np.zeros((0, 3))})
    writer.histograms(
        1, {"narrow": np.array([1.0, np.nextafter(1.0, 2)]), "half": values.astype(ml_dtypes.bfloat16)}
    )
    writer.histograms(1, {"integers": np.arange(60), "many": np.ones(2**20 + 5) * np.arange(2**20 + 5)})
    writer.close()
    counts, edges = np.histogram(values.astype(np.float64), bins=BUCKETS)
    table = tensor(tmp_path, "kernel")
    np.testing.assert_allclose(table[:, 0], edges[:-1])
    np.testing.assert_allclose(table[:, 1], edges[1:])
    assert np.abs(table[:, 2] - counts).sum() <= 2  # a value on an edge may fall on either side
    totals = {"kernel": 2000, "gaps": 100, "same": 7, "none": 0, "narrow": 2, "half": 2000, "many": 2**20 + 5}
    assert {tag: int(tensor(tmp_path, tag)[:, 2].sum()) for tag in totals} == totals
    assert tensor(tmp_path, "same")[-1].tolist() == [2.5, 2.5, 7.0]
    assert tensor(tmp_path, "integers")[:, 2].tolist() == [2.0] * BUCKETS


def test_images_texts_and_the_graph_are_read_back(tmp_path, spec):
    graph = graph_def(Linear(spec=spec, rngs=nnx.Rngs(0)), spec)
    writer = EventWriter(tmp_path)
    writer.image(5, "samples", PNG)
    writer.text(0, "config", "model: **cnn**, η=0.1")
    writer.graph(graph)
    writer.close()
    assert tensor(tmp_path, "samples").tolist() == [b"1", b"1", PNG]
    assert tensor(tmp_path, "config").item() == "model: **cnn**, η=0.1".encode()
    assert read(tmp_path).Graph().node == graph.node
    plugins = {tag: read(tmp_path).SummaryMetadata(tag).plugin_data.plugin_name for tag in ("samples", "config")}
    assert plugins == {"samples": "images", "config": "text"}


def test_file_is_created_at_the_first_flush_and_begins_with_a_session_start(tmp_path):
    writer = EventWriter(tmp_path / "train", start_step=7)
    writer.flush()
    assert not (tmp_path / "train").exists()
    writer.scalars(7, {"loss": 1.0})
    writer.close()
    writer.close()
    (path,) = (tmp_path / "train").iterdir()
    version, start, point = events(path)
    assert path == writer.path and version.file_version == "brain.Event:2"
    assert (start.session_log.status, start.step, point.step) == (SessionLog.START, 7, 7)
    with pytest.raises(ValueError, match="closed"):
        writer.scalars(8, {"loss": 1.0})


def dead_and_resumed(folder) -> None:
    """Steps 10 to 100, killed while writing the last; resumed after step 50 and stopped at 80."""
    dead = EventWriter(folder)
    for step in range(10, 101, 10):
        dead.scalars(step, {"loss": float(step)})
    dead.close()
    dead.path.write_bytes(dead.path.read_bytes()[:-7])
    resumed = EventWriter(folder, start_step=51)
    for step in range(60, 81, 10):
        resumed.scalars(step, {"loss": -float(step)})
    resumed.close()
    assert resumed.path.name > dead.path.name  # within one second, too


RESUMED = [(step, step if step <= 50 else -step) for step in range(10, 81, 10)]


def test_resumed_run_replaces_the_later_steps_of_the_dead_one(tmp_path):
    dead_and_resumed(tmp_path)
    assert [(p.step, p.value) for p in read(tmp_path).Scalars("loss")] == RESUMED


def test_new_file_is_read_last_even_if_the_clock_was_set_back(tmp_path, monkeypatch):
    first = EventWriter(tmp_path)
    first.scalars(1, {"loss": 1.0})
    first.close()
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    second = EventWriter(tmp_path, start_step=1)
    second.scalars(1, {"loss": 2.0})
    second.close()
    assert [p.value for p in read(tmp_path).Scalars("loss")] == [2.0]


def test_full_disk_raises_and_a_later_flush_continues(tmp_path):
    writer = EventWriter(tmp_path)
    writer.scalars(1, {"loss": 1.0})
    writer.flush()
    writer.text(2, "config", "x" * 10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        for _ in range(2):
            with pytest.raises(DiskError, match="cannot write TensorBoard's events"):
                writer.flush()
        assert writer.path.stat().st_size == 5000  # a part was written
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    writer.scalars(3, {"loss": 3.0})
    writer.close()
    assert [p.step for p in read(tmp_path).Scalars("loss")] == [1, 3]
    assert tensor(tmp_path, "config").item() == b"x" * 10_000


def test_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    writer = EventWriter(tmp_path / "file" / "train")
    writer.scalars(1, {"loss": 1.0})
    with pytest.raises(DiskError, match=r"cannot write .*file/train.*Not a directory"):
        writer.close()


def test_large_buffers_are_flushed_automatically(tmp_path):
    writer = EventWriter(tmp_path)
    for step in range(4):
        writer.text(step, "config", "x" * 500_000)
    assert writer.path.stat().st_size > 1_000_000
    writer.close()


def test_importing_the_writer_loads_neither_tensorflow_nor_its_stub():
    heavy = ["tensorflow", "torch", "fsspec", "jax", "matplotlib", "tensorboard.compat.tensorflow_stub"]
    code = f"import sys, dltrain.runs.tensorboard; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def write_sweep(root) -> None:
    """Two finished runs that differ in their parts, and one that died and was resumed."""
    for name, rate, extra in (("0", 0.1, {}), ("1", 0.01, {"model.channels": 32})):
        top, validation = (
            EventWriter(root / name / "tensorboard"),
            EventWriter(root / name / "tensorboard/validation"),
        )
        top.hparams({"optim.learning_rate": rate, "model": f"m{name}", "nesterov": True, "none": None, **extra})
        top.image(2, "samples", PNG)
        top.session_end(success=name == "0")
        validation.scalars(1, {"accuracy": 0.5})
        validation.scalars(2, {"accuracy": 0.75 + rate})
        top.close()
        validation.close()
    dead_and_resumed(root / "2" / "tensorboard" / "train")


def ask(port: int, path: str, body: dict | None = None):
    """GET, or POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/data/{path}", data, headers={"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=5) as answer:
        content = answer.read()
    return json.loads(content) if answer.headers.get_content_type() == "application/json" else content


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of a TensorBoard server for the sweep."""
    root = tmp_path_factory.mktemp("outputs")
    write_sweep(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", root, "--host", "127.0.0.1", "--port", port]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    try:
        expected = {f"{k}/tensorboard/validation" for k in "01"} | {"0/tensorboard", "1/tensorboard"}
        expected.add("2/tensorboard/train")
        end = time.monotonic() + 40
        while True:
            try:
                if set(ask(port, "runs")) == expected:
                    break
            except OSError:
                pass
            assert process.poll() is None and time.monotonic() < end, (root / "log").read_text()
            time.sleep(0.2)
        yield port
    finally:
        process.kill()
        process.wait()


def test_tensorboard_serves_scalars_and_images(server):
    points = ask(server, "plugin/scalars/scalars?run=0/tensorboard/validation&tag=accuracy")
    assert [(step, round(value, 6)) for _, step, value in points] == [(1, 0.5), (2, 0.85)]
    (picture,) = ask(server, "plugin/images/images?run=1/tensorboard&tag=samples&sample=0")
    assert picture["step"] == 2
    assert ask(server, f"plugin/images/individualImage?{picture['query']}") == PNG


def test_tensorboard_drops_the_later_steps_of_a_dead_run(server):
    points = ask(server, "plugin/scalars/scalars?run=2/tensorboard/train&tag=loss")
    assert [(step, value) for _, step, value in points] == RESUMED


def test_tensorboard_compares_the_runs_of_a_sweep(server):
    states = [f"STATUS_{word}" for word in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    wanted = {"allowedStatuses": states, "startIndex": 0, "sliceSize": 10, "colParams": []}
    groups = {
        group["name"]: group for group in ask(server, "plugin/hparams/session_groups", wanted)["sessionGroups"]
    }
    assert sorted(groups) == ["0/tensorboard", "1/tensorboard"]
    assert groups["1/tensorboard"]["hparams"] == {
        "optim.learning_rate": 0.01,
        "model": "m1",
        "nesterov": True,
        "none": "None",
        "model.channels": 32.0,
    }
    assert groups["1/tensorboard"]["hparams"]["nesterov"] is True
    metrics = {}
    for name, group in groups.items():
        ((metric,), (session,)) = group["metricValues"], group["sessions"]
        assert metric["name"] == {"group": "validation", "tag": "accuracy"}
        metrics[name] = (round(metric["value"], 6), metric["trainingStep"], session["status"])
    assert metrics == {"0/tensorboard": (0.85, 2, "STATUS_SUCCESS"), "1/tensorboard": (0.76, 2, "STATUS_FAILURE")}
    columns = [info["name"] for info in ask(server, "plugin/hparams/experiment", {})["hparamInfos"]]
    assert sorted(columns) == ["model", "model.channels", "nesterov", "none", "optim.learning_rate"]


def test_given_metrics_are_the_columns_of_the_experiment(tmp_path):
    from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG, parse_experiment_plugin_data

    writer = EventWriter(tmp_path)
    writer.hparams({"seed": np.int64(3), "rate": np.float32(0.5), "bad": math.nan}, [("validation", "accuracy")])
    writer.close()
    experiment = parse_experiment_plugin_data(read(tmp_path).SummaryMetadata(EXPERIMENT_TAG).plugin_data.content)
    assert [(m.name.group, m.name.tag) for m in experiment.metric_infos] == [("validation", "accuracy")]
    assert [info.name for info in experiment.hparam_infos] == ["seed", "rate", "bad"]


def test_a_copied_run_has_the_hyperparameters_of_its_own_sweep(tmp_path):
    writer = EventWriter(tmp_path)
    writer.scalars(0, {"loss": 1.0})
    writer.hparams({"seed": 3, "old": "x"}, start_time=7.0)
    writer.scalars(1, {"loss": 2.0})
    writer.close()
    content = writer.path.read_bytes()
    assert with_hparams(content, {"seed": 3, "old": "x"}) == content
    writer.path.write_bytes(with_hparams(content, {"seed": 3, "new": True}) + content[:5])
    events = [Event.FromString(data) for data in RawEventFileLoader(str(writer.path)).Load()]
    (session,) = [v for e in events for v in e.summary.value if v.tag == SESSION]
    found = HParamsPluginData.FromString(session.metadata.plugin_data.content).session_start_info
    assert {n: v.number_value or v.bool_value for n, v in found.hparams.items()} == {"seed": 3, "new": True}
    assert found.start_time_secs == 7
    assert [e.step for e in events for v in e.summary.value if v.tag == "loss"] == [0, 1]
