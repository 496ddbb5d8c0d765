"""The inputs of a chunk: indices into a data set on the device, or batches that threads have read ahead.

The step gets the same batch either way. A feed has `data`, which stays on the device; `load(batches, room)`, which
converts indices `[n, B]` to the inputs of one dispatch; and `pick(data, given, i)`, batch i inside the trace.

The readers are hand-written: with the data set on the device there is nothing to load, and one numpy gather per
batch is faster than the worker processes of grain or torch (18 µs for 128 images of 28x28).
"""

import copy
import operator
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.data.aligned import is_aligned
from dltrain.data.order import PADDING, Pipeline
from dltrain.devices.mesh import complete, own_rows, put, put_rows
from dltrain.errors import DataError, WorkerError
from dltrain.ops import divided
from dltrain.types import Array, Batch, Source


class Resident:
    """The whole data set is on the device (uint8 stays uint8, and is cast in the graph); inputs are indices."""

    def __init__(self, arrays: Mapping[str, Any], where: Any = None) -> None:
        """Store the arrays without copying them; `where` is a sharding."""
        self._arrays, self._where, self._begin = arrays, where, 0

    def beginning(self, row: int) -> "Resident":
        """Return a feed of the same arrays on the device whose example 0 is this row of them."""
        other = copy.copy(self)
        other.__dict__["data"], other._begin = self.data, row
        return other

    @cached_property
    def data(self) -> dict[str, Any]:
        """The arrays on the device; a CPU shares the memory of those that are aligned."""
        return jax.tree.map(lambda array: put(array, self._where), dict(self._arrays))

    @property
    def in_place(self) -> int:
        """Bytes of the arrays that a CPU uses without a copy; 0 on other devices."""
        if jax.default_backend() != "cpu":
            return 0
        same = (v for v in jax.tree.leaves(dict(self._arrays)) if jax.dtypes.canonicalize_dtype(v.dtype) == v.dtype)
        return sum(value.nbytes for value in same if is_aligned(value))

    @property
    def shapes(self) -> dict[str, Any]:
        """Shapes and dtypes of `data`."""
        return jax.tree.map(lambda array: _shape(array.shape, array.dtype, self._where), dict(self._arrays))

    def input_shapes(self, room: int, batch_size: int) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the inputs of one dispatch."""
        return jax.ShapeDtypeStruct((room, batch_size), np.int32)

    def load(self, batches: np.ndarray, room: int) -> np.ndarray:
        """Pad the indices to `room` batches."""
        padded = np.full((room, batches.shape[1]), PADDING, batches.dtype)
        moved = np.where(batches == PADDING, PADDING, batches + self._begin) if self._begin else batches
        padded[: len(batches)] = moved
        return padded

    def batch_bytes(self, batch_size: int) -> int:
        """Return the bytes of a batch of indices."""
        return 4 * batch_size

    @staticmethod
    def pick(data: Mapping[str, Any], given: Array, i: Array) -> Batch:
        """Gather the examples; a gather on a device clips silently, so indices are checked when they are made."""
        indices = divided.whole(given[i])
        index = jnp.maximum(indices, 0)
        picked = jax.tree.map(lambda array: jnp.take(array, index, axis=0, mode="clip"), dict(data))
        return {**picked, "mask": indices >= 0}


class Streamed:
    """The data set stays in its source; inputs are the batches, `[room, B, ...]`.

    Of several processes, each reads only the examples of its own devices.
    """

    in_place = 0  # bytes; the memory of the source is not shared

    def __init__(self, source: Source, where: Any = None) -> None:
        """Read one example for its shapes; `where` is the sharding of the inputs, `[room, B, ...]`."""
        self.data: Mapping[str, Any] = {}
        self.shapes: Mapping[str, Any] = {}
        self._source, self._where = source, where
        self._one = source.read(np.zeros(1, np.int64))

    def load(self, batches: np.ndarray, room: int) -> dict[str, Any]:
        """Read these batches now."""
        return self.stack([self.read(indices) for indices in batches], room, batches.shape[1])

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read one batch, int32 [B] -> arrays [B, ...]; padding is example 0, masked: see `engine.padding`.

        One process among several reads its part of the batch, and has the whole mask.
        """
        mask = indices >= 0
        if self._divided:
            indices = indices[own_rows(self._where, len(indices), axis=1)]
        return {**self._source.read(np.maximum(indices, 0)), "mask": mask}

    def stack(self, batches: list[dict[str, Any]], room: int, batch_size: int) -> dict[str, Any]:
        """Stack batches; the rest of the room stays uninitialised and is never read."""
        shapes = self.input_shapes(room, batch_size)
        own = len(range(batch_size)[own_rows(self._where, batch_size, axis=1)]) if self._divided else batch_size
        lengths = {name: batch_size if name == "mask" else own for name in shapes}
        stacked = {
            name: jax.tree.map(lambda s, n=lengths[name]: np.empty((room, n, *s.shape[2:]), s.dtype), shape)
            for name, shape in shapes.items()
        }
        for i, batch in enumerate(batches):
            jax.tree.map(lambda array, value, i=i: operator.setitem(array, i, value), stacked, batch)
        if self._where is None:
            return stacked
        mask = put(stacked.pop("mask"), self._of_mask)
        if self._divided:
            rows = jax.tree.map(lambda rows: put_rows(rows, self._where, batch_size, axis=1), stacked)
        else:
            rows = jax.device_put(stacked, self._where)
        return {**rows, "mask": mask}

    @property
    def _of_mask(self) -> Any:
        return None if self._where is None else complete(self._where)

    @property
    def _divided(self) -> bool:
        """Whether other processes read a part of each batch."""
        return self._where is not None and not self._where.is_fully_addressable

    def input_shapes(self, room: int, batch_size: int) -> dict[str, Any]:
        """Shapes and dtypes of the inputs of one dispatch."""
        one = {**self._one, "mask": np.ones(1, bool)}
        shapes = jax.tree.map(lambda v: _shape((room, batch_size, *v.shape[1:]), v.dtype, self._where), one)
        return {**shapes, "mask": _shape((room, batch_size), np.dtype(bool), self._of_mask)}

    def reading(self) -> str:
        """Return what threads are reading now, such as the file; "" where the source does not say it."""
        source: Any = self._source
        return source.reading() if hasattr(source, "reading") else ""

    def batch_bytes(self, batch_size: int) -> int:
        """Return the bytes of all arrays of a batch."""
        return batch_size * (1 + sum(value.nbytes for value in jax.tree.leaves(self._one)))

    @staticmethod
    def pick(data: Mapping[str, Any], given: Mapping[str, Any], i: Array) -> Batch:
        """Return batch i of those that were read."""
        del data
        return jax.tree.map(lambda value: value[i], dict(given))


Feed = Resident | Streamed


def _shape(shape: tuple[int, ...], dtype: np.dtype, where: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype), sharding=where)


class ReadAhead:
    """Threads that read the batches of coming steps, at most `ahead` of them, and return them in order.

    Threads are daemons: a source that hangs does not keep the process from ending.
    """

    def __init__(
        self,
        read: Callable[[int], dict[str, Any]],
        *,
        ahead: int,
        threads: int,
        read_timeout: float,
        reading: Callable[[], str] = str,
    ) -> None:
        """Start the threads; `read_timeout` is in seconds per batch, and `reading` says what they read now."""
        self.waited = 0.0  # seconds that training waited for data
        self._read, self._ahead, self._read_timeout = read, ahead, read_timeout
        self._reading = reading
        self._wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._ready = threading.Condition()
        self._done: dict[int, dict[str, Any] | BaseException] = {}
        self._requested = self._next = 0
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"read {i}") for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def take(self, step: int, count: int) -> list[dict[str, Any]]:
        """Return the batches of the steps `step .. step + count - 1`, waiting until they are read."""
        if step != self._next:  # a resumed run starts at any step
            with self._ready:
                self._done.clear()
                self._requested = self._next = step
        batches = []
        for number in range(step, step + count):
            for wanted in range(self._requested, number + self._ahead):
                self._wanted.put(wanted)
            self._requested = max(self._requested, number + self._ahead)
            batches.append(self._wait(number))
        self._next = step + count
        return batches

    def close(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._wanted.put(None)

    def _wait(self, number: int) -> dict[str, np.ndarray]:
        began = time.monotonic()
        with self._ready:
            if not self._ready.wait_for(lambda: number in self._done, self._read_timeout):
                now = self._reading()
                raise WorkerError(
                    f"the batch of step {number + 1} was not read within {self._read_timeout:g} s (data.timeout): "
                    f"the source is stalled or too slow{now and f', reading {now}'}"
                )
            found = self._done.pop(number)
        self.waited += time.monotonic() - began
        if isinstance(found, DataError):
            raise found
        if isinstance(found, BaseException) and not isinstance(found, Exception):
            raise WorkerError(f"the thread that read the batch of step {number + 1} died: {found!r}") from found
        if isinstance(found, Exception):
            raise DataError(f"reading the batch of step {number + 1} failed: {found}") from found
        return found

    def _work(self) -> None:
        while (number := self._wanted.get()) is not None:
            try:
                found: dict[str, Any] | BaseException = self._read(number)
            except BaseException as error:  # raised by `take`
                found = error
            with self._ready:
                if number >= self._next:
                    self._done[number] = found
                del found  # otherwise each thread keeps an additional batch in memory
                self._ready.notify_all()


def read_ahead(feed: Streamed, pipeline: Pipeline, *, ahead: int, threads: int, read_timeout: float) -> ReadAhead:
    """Read ahead in the order of a pipeline."""

    def read(step: int) -> dict[str, Any]:
        return feed.read(pipeline.indices(step, 1)[0])

    return ReadAhead(read, ahead=ahead, threads=threads, read_timeout=read_timeout, reading=feed.reading)
