"""Event files for TensorBoard, written with its own protocol classes; the callbacks decide what is written when.

The writer is synchronous and owns its file: a full disk raises where it is noticed instead of ending a
thread, and no thread outlives the run. Importing it costs the protocol classes only, because TensorBoard's
`RecordWriter` would bring fsspec and its TensorFlow stub.
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
from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from dltrain.errors import DiskError

BUCKETS = 30  # of a histogram, as in TensorBoard's own summaries
_FLUSH_BYTES = 1 << 20  # what may wait in memory for `flush`
_BLOCK = 1 << 20  # values of a histogram counted at a time, which bounds the float64 copies


class EventWriter:
    """Appends events to one new file in `folder`, made when the first event is flushed.

    `start_step` is the first step this writer may write: the file opens with a session start at that step, at
    which TensorBoard drops what a dead run wrote for it and for later steps. Nothing reaches the disk before
    `flush` or `close` but in pieces of a megabyte; both raise `DiskError` when the file cannot be written,
    and what was not written stays, so that a later flush goes on at the same byte.
    """

    def __init__(self, folder: Path, start_step: int = 0) -> None:
        self.folder = Path(folder)
        self.path: Path | None = None
        self._file = None
        self._closed = False
        self._pending = bytearray()
        self._start_step = start_step
        self._started = False

    def scalars(self, step: int, values: Mapping[str, float], *, wall_time: float | None = None) -> None:
        """Write one point of each curve; values that are not finite are written as they are."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(Event(step=step, summary=summary), wall_time)

    def histograms(self, step: int, values: Mapping[str, np.ndarray], *, wall_time: float | None = None) -> None:
        """Write the distribution of each array (any shape); values that are not finite are left out."""
        summary = Summary(
            value=[_tensor_value(tag, "histograms", _histogram(array)) for tag, array in values.items()]
        )
        self._write(Event(step=step, summary=summary), wall_time)

    def image(
        self, step: int, tag: str, png: bytes, width: int, height: int, *, wall_time: float | None = None
    ) -> None:
        """Write one picture of `width` x `height` pixels."""
        tensor = _strings([str(width).encode(), str(height).encode(), png])
        self._write(Event(step=step, summary=Summary(value=[_tensor_value(tag, "images", tensor)])), wall_time)

    def text(self, step: int, tag: str, markdown: str, *, wall_time: float | None = None) -> None:
        """Write a text, drawn as Markdown."""
        tensor = _strings([markdown.encode()])
        self._write(Event(step=step, summary=Summary(value=[_tensor_value(tag, "text", tensor)])), wall_time)

    def graph(self, graph: GraphDef, *, wall_time: float | None = None) -> None:
        """Write what the graph tab draws."""
        self._write(Event(graph_def=graph.SerializeToString()), wall_time)

    def hparams(
        self,
        values: Mapping[str, object],
        metrics: Iterable[tuple[str, str]] = (),
        *,
        start_time: float | None = None,
        wall_time: float | None = None,
    ) -> None:
        """Make this folder one row of the HPARAMS tab.

        Args:
          values: name -> bool, number or text; anything else is written as its text.
          metrics: pairs of subfolder and tag, `("validation", "accuracy")`. TensorBoard takes the columns of
            all runs, hyperparameters included, from the first run that names metrics. Without any it shows
            every hyperparameter and every scalar that some run has, which is right for runs that differ in
            their parts.
          start_time: when the run started, in seconds since the epoch.
          wall_time: as for the other events.
        """
        metrics = tuple(metrics)
        session = SessionStartInfo(start_time_secs=time.time() if start_time is None else start_time)
        for name, value in values.items():
            for field, content in _hparam(value).items():
                setattr(session.hparams[name], field, content)
        summary = Summary(
            value=[_hparams_value("session_start_info", HParamsPluginData(session_start_info=session))]
        )
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
        """Write how the run ended. TensorBoard keeps the first end it reads, so an interrupted run writes none."""
        now = time.time() if end_time is None else end_time
        status = Status.STATUS_SUCCESS if success else Status.STATUS_FAILURE
        data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=now))
        self._write(Event(summary=Summary(value=[_hparams_value("session_end_info", data)])), wall_time)

    def flush(self) -> None:
        """Hand everything written so far to the operating system; raises `DiskError`."""
        if not self._pending:
            return
        try:
            if self._file is None:
                self._file = self._open()
            while self._pending:
                # Unbuffered, so that what a full disk took is known exactly.
                del self._pending[: self._file.write(self._pending)]
        except OSError as error:
            where = self.path or self.folder
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
        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names, so this one's time is after
        # every other's, also when the clock was set back or the last start was within this second.
        found = (re.match(r"events\.out\.tfevents\.(\d+)\.", path.name) for path in self.folder.iterdir())
        stamp = max([int(time.time()), *(int(match[1]) + 1 for match in found if match)])
        self.path = self.folder / f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.0"
        return self.path.open("xb", buffering=0)

    def _write(self, event: Event, wall_time: float | None) -> None:
        if self._closed:
            raise ValueError(f"{self.folder}: the event writer is closed")
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
        """Frame one record as TFRecord does: length, its checksum, data, its checksum."""
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        self._pending += header + _checksum(header) + data + _checksum(data)


def _crc_table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def _checksum(data: bytes) -> bytes:
    """CRC-32C (RFC 3720, B.4), masked as in TFRecord files."""
    crc, table = 0xFFFFFFFF, _CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _tensor_value(tag: str, plugin: str, tensor: TensorProto, content: bytes = b"") -> Summary.Value:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=data))


def _hparams_value(tag: str, data: HParamsPluginData) -> Summary.Value:
    """All content is in the metadata; the tensor is TensorBoard's empty one."""
    empty = TensorProto(dtype=DT_FLOAT, tensor_shape=_shape(0))
    return _tensor_value(f"_hparams_/{tag}", "hparams", empty, data.SerializeToString())


def _hparam(value: object) -> dict[str, object]:
    """The field of a `google.protobuf.Value` that holds it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int | float) and math.isfinite(value):
        return {"number_value": value}
    return {"string_value": str(value)}  # JSON, which carries the table, has no nan


def _shape(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def _strings(values: list[bytes]) -> TensorProto:
    """One string as a scalar, more as a vector."""
    return TensorProto(
        dtype=DT_STRING, tensor_shape=_shape(*([len(values)] if len(values) > 1 else [])), string_val=values
    )


def _histogram(values: np.ndarray) -> TensorProto:
    """Rows of left edge, right edge and count [BUCKETS, 3]; of equal values, all are in the last bucket."""
    flat = np.asarray(values).ravel()
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
    counts = np.zeros(BUCKETS)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        where = (block - low) / (high - low) * BUCKETS if high > low else np.full(block.shape, BUCKETS)
        counts += np.bincount(np.minimum(where.astype(np.int64), BUCKETS - 1), minlength=BUCKETS)
    edges = np.linspace(low, high, BUCKETS + 1)
    table = np.stack([edges[:-1], edges[1:], counts], axis=1)
    return TensorProto(dtype=DT_DOUBLE, tensor_shape=_shape(BUCKETS, 3), tensor_content=table.tobytes())
