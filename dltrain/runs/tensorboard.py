"""Event files for TensorBoard, written with its protocol classes; callbacks decide what is written when.

Hand-written, since the writer of TensorBoard has a thread in which a full disk goes unnoticed, and its
`RecordWriter` imports fsspec and a TensorFlow stub. This one is synchronous: an error is raised where it occurs,
and no thread outlives the run.
"""

import math
import os
import re
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from dltrain.errors import DiskError
from dltrain.plots.png import png_size
from dltrain.runs.files import Files, files_at

SESSION = "_hparams_/session_start_info"  # the tag of the hyperparameters of a run
BUCKETS = 30  # per histogram, as in the summaries of TensorBoard
_FLUSH_BYTES = 1 << 20  # buffered in memory before an automatic flush
_HEADER, _CHECKSUM = 12, 4  # bytes before and after the data of a record
_EDGES = np.arange(BUCKETS + 1.0)  # of the buckets, in their width
_BLOCK = 1 << 16  # values of a histogram counted at once, whose float64 copies stay in the cache


class EventWriter:
    """Appends events to one new file in `folder`, created when the first event is flushed.

    `start_step` is the first step of this writer: the file begins with a session start at that step, and
    TensorBoard drops the points of a dead run from this step on. Events are written by `flush` and `close`, and
    whenever more than a megabyte is buffered. These raise `DiskError` if the file cannot be written; the unwritten
    bytes are kept, so that a later flush continues at the same byte.
    """

    def __init__(self, folder: Path | Files, start_step: int = 0) -> None:
        self._files = files_at(folder)
        self.path: Path | None = None
        self._file = None
        self._closed = False
        self._pending = bytearray()
        self._start_step = start_step
        self._started = False

    def scalars(self, step: int, values: Mapping[str, float], *, wall_time: float | None = None) -> None:
        """Write one point of each curve, also values that are not finite."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(Event(step=step, summary=summary), wall_time)

    def histograms(self, step: int, values: Mapping[str, np.ndarray], *, wall_time: float | None = None) -> None:
        """Write a histogram of each array (any shape), without values that are not finite."""
        summary = Summary(
            value=[_tensor_value(tag, "histograms", _histogram(array)) for tag, array in values.items()]
        )
        self._write(Event(step=step, summary=summary), wall_time)

    def image(self, step: int, tag: str, png: bytes, *, wall_time: float | None = None) -> None:
        """Write one image."""
        width, height = png_size(png)
        tensor = _strings([str(width).encode(), str(height).encode(), png])
        self._write(Event(step=step, summary=Summary(value=[_tensor_value(tag, "images", tensor)])), wall_time)

    def text(self, step: int, tag: str, markdown: str, *, wall_time: float | None = None) -> None:
        """Write a text, shown as Markdown."""
        tensor = _strings([markdown.encode()])
        self._write(Event(step=step, summary=Summary(value=[_tensor_value(tag, "text", tensor)])), wall_time)

    def graph(self, graph: GraphDef, *, wall_time: float | None = None) -> None:
        """Write the graph for the graph tab."""
        self._write(Event(graph_def=graph.SerializeToString()), wall_time)

    def layout(self, charts: Mapping[str, str], *, wall_time: float | None = None) -> None:
        """Write charts for the tab CUSTOM SCALARS: title -> regular expression of the tags drawn together."""
        drawn = [Chart(title=title, multiline=MultilineChartContent(tag=[tag])) for title, tag in charts.items()]
        tensor = _strings([Layout(category=[Category(title="splits", chart=drawn)]).SerializeToString()])
        value = _tensor_value("custom_scalars__config__", "custom_scalars", tensor)
        self._write(Event(summary=Summary(value=[value])), wall_time)

    def hparams(
        self,
        values: Mapping[str, object],
        metrics: Iterable[tuple[str, str]] = (),
        *,
        start_time: float | None = None,
        wall_time: float | None = None,
    ) -> None:
        """Write this run as one row of the HPARAMS tab.

        Args:
          values: name -> bool, number or text; other types are written as text.
          metrics: pairs of subfolder and tag, `("validation", "accuracy")`. TensorBoard takes the columns of
            all runs, including hyperparameters, from the first run with metrics. Without any it shows all
            hyperparameters and scalars of all runs, which suits runs with different parts.
          start_time: when the run started, in seconds since the epoch.
          wall_time: as in the other events.
        """
        metrics = tuple(metrics)
        session = _session(values, time.time() if start_time is None else start_time)
        summary = Summary(value=[session])
        if metrics:
            experiment = Experiment(
                hparam_infos=[HParamInfo(name=name) for name in values],
                metric_infos=[MetricInfo(name=MetricName(group=group, tag=tag)) for group, tag in metrics],
            )
            summary.value.append(_hparams_value("experiment", HParamsPluginData(experiment=experiment)))
        self._write(Event(summary=summary), wall_time)

    def session_end(
        self, *, success: bool = True, end_time: float | None = None, wall_time: float | None = None
    ) -> None:
        """Write how the run ended; not for an interrupted run, since TensorBoard keeps the first end it reads."""
        now = time.time() if end_time is None else end_time
        status = Status.STATUS_SUCCESS if success else Status.STATUS_FAILURE
        data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=now))
        self._write(Event(summary=Summary(value=[_hparams_value("session_end_info", data)])), wall_time)

    def flush(self) -> None:
        """Flush everything written so far to the operating system; raises `DiskError`."""
        if not self._pending:
            return
        try:
            if self._file is None:
                self._file = self._open()
            while self._pending:
                # Unbuffered, so that the number of written bytes is known when the disk is full.
                del self._pending[: self._file.write(self._pending)]
        except OSError as error:
            where = self.path or self._files.path
            raise DiskError(f"{where}: cannot write TensorBoard's events: {error.strerror or error}") from error

    def close(self) -> None:
        """Flush and close the file; a second call does nothing. Raises `DiskError`."""
        self._closed = True
        try:
            self.flush()
        finally:
            self._pending.clear()
            if self._file is not None:
                self._file.close()

    def _open(self):
        # TensorBoard reads the files of a folder in the order of their names, so the time of this one must be the
        # latest, also if the clock was set back or the last start was within this second.
        found = (re.match(r"events\.out\.tfevents\.(\d+)\.", name) for name in self._files.names())
        stamp = max([int(time.time()), *(int(match[1]) + 1 for match in found if match)])
        name = f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.0"
        file = self._files.create(name)
        self.path = self._files.path / name
        return file

    def _write(self, event: Event, wall_time: float | None) -> None:
        if self._closed:
            raise ValueError(f"{self._files.path}: the event writer is closed")
        event.wall_time = time.time() if wall_time is None else wall_time
        if not self._started:
            self._started = True
            start = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=event.wall_time, file_version="brain.Event:2"))
            self._append(Event(wall_time=event.wall_time, step=self._start_step, session_log=start))
        self._append(event)
        if len(self._pending) > _FLUSH_BYTES:
            self.flush()

    def _append(self, event: Event) -> None:
        self._pending += _record(event)


def with_hparams(content: bytes, values: Mapping[str, object]) -> bytes:
    """Return the content of an event file with other hyperparameters; a last record that was cut stays as it is."""
    found, at = bytearray(), 0
    while len(content) - at >= _HEADER:
        size = _HEADER + struct.unpack_from("<Q", content, at)[0] + _CHECKSUM
        record = content[at : at + size]
        if SESSION.encode() in record and len(record) == size:
            event = Event.FromString(record[_HEADER:-_CHECKSUM])
            for value in event.summary.value:
                if value.tag == SESSION:
                    before = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    value.CopyFrom(_session(values, before.session_start_info.start_time_secs))
            record = _record(event)
        found += record
        at += size
    return bytes(found) + content[at:]


def _record(event: Event) -> bytes:
    """Return an event in TFRecord format: length, its checksum, data, its checksum."""
    data = event.SerializeToString()
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _session(values: Mapping[str, object], start_time: float) -> Summary.Value:
    """Return what says with which hyperparameters a run was started, and when."""
    session = SessionStartInfo(start_time_secs=start_time)
    for name, value in values.items():
        for field, content in _hparam(value).items():
            setattr(session.hparams[name], field, content)
    return _hparams_value("session_start_info", HParamsPluginData(session_start_info=session))


def _crc_table() -> np.ndarray:
    """Return the remainder of each byte, followed by 0 to `_CRC_BLOCK - 1` zero bytes, uint32 [_CRC_BLOCK, 256]."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = (crc >> 1) ^ np.where(crc & 1, np.uint32(0x82F63B78), np.uint32(0))
    tables = [crc]
    while len(tables) < _CRC_BLOCK:
        tables.append(crc[tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    return np.stack(tables)


_CRC_BLOCK = 256  # bytes at once; the tables take 256 KiB
_CRC_TABLE = _crc_table()
_CRC_PLACES = np.arange(_CRC_BLOCK)[::-1]  # of the bytes of a block, counted from its end
_CRC_FIRST = tuple(_CRC_TABLE[0].tolist())
_CRC_LAST = tuple(tuple(_CRC_TABLE[_CRC_BLOCK - 1 - i].tolist()) for i in range(4))  # of the first bytes of a block
_CRC_SHORT = 32  # bytes below which a loop is faster


def _checksum(data: bytes) -> bytes:
    """Return the CRC-32C (RFC 3720, B.4), masked as in TFRecord files.

    A remainder is the sum of the remainders of its bytes, so those of a block are looked up at once.
    """
    crc = 0xFFFFFFFF
    if len(data) < _CRC_SHORT:
        for byte in data:
            crc = _CRC_FIRST[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    else:
        # The remainder before the first byte is added to the first four; then zeros before them change nothing.
        padded = np.zeros(-(-len(data) // _CRC_BLOCK) * _CRC_BLOCK, np.uint8)
        own = padded[len(padded) - len(data) :]
        own[:] = np.frombuffer(data, np.uint8)
        own[:4] ^= 0xFF
        found = np.bitwise_xor.reduce(_CRC_TABLE[_CRC_PLACES, padded.reshape(-1, _CRC_BLOCK)], axis=1)
        first, second, third, fourth = _CRC_LAST
        crc = 0
        for block in found.tolist():
            crc = block ^ first[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ fourth[crc >> 24]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _tensor_value(tag: str, plugin: str, tensor: TensorProto, content: bytes = b"") -> Summary.Value:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=data))


def _hparams_value(tag: str, data: HParamsPluginData) -> Summary.Value:
    """Put all content into the metadata, with the empty tensor that TensorBoard uses."""
    empty = TensorProto(dtype=DT_FLOAT, tensor_shape=_shape(0))
    return _tensor_value(f"_hparams_/{tag}", "hparams", empty, data.SerializeToString())


def _hparam(value: object) -> dict[str, object]:
    """Return the field of a `google.protobuf.Value` for this value."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int | float) and math.isfinite(value):
        return {"number_value": value}
    return {"string_value": str(value)}  # the table is JSON, which has no NaN


def _shape(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def _strings(values: list[bytes]) -> TensorProto:
    """Encode one string as a scalar, several as a vector."""
    return TensorProto(
        dtype=DT_STRING, tensor_shape=_shape(*([len(values)] if len(values) > 1 else [])), string_val=values
    )


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest value, which are not finite if any value is not; 0 if there is none."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _histogram(values: np.ndarray) -> TensorProto:
    """Return left edge, right edge and count per bucket [BUCKETS, 3]; equal values are all in the last one."""
    flat = np.asarray(values).ravel()
    low, high = _ends(flat)
    if not (math.isfinite(low) and math.isfinite(high)):
        flat = flat[np.isfinite(flat)]
        low, high = _ends(flat)
    table = np.zeros((BUCKETS, 3))
    table[:, 0] = _EDGES[:-1] * ((high - low) / BUCKETS) + low
    table[:-1, 1], table[-1, 1] = table[1:, 0], high
    if high > low:
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK].astype(np.float64)
            block -= low
            block /= high - low
            block *= BUCKETS
            counts = np.bincount(block.astype(np.int64), minlength=BUCKETS + 1)
            table[:, 2] += counts[:BUCKETS]
            table[-1, 2] += counts[BUCKETS]  # the largest value is at the right edge of the last bucket
    else:
        table[-1, 2] = flat.size
    return TensorProto(dtype=DT_DOUBLE, tensor_shape=_shape(BUCKETS, 3), tensor_content=table.tobytes())
