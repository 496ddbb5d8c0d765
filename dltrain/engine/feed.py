"""What a chunk is given: row numbers of a data set on the device, or batches that threads have read ahead.

The step sees the same batch either way. A feed has `data`, which stays on the device; `load(batches, room)`, which
makes what one dispatch is given of row numbers `[n, B]`; and `pick(data, given, i)`, batch i inside the trace.
"""

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
from dltrain.errors import DataError
from dltrain.types import Array, Batch, Source


class Resident:
    """The whole data set is on the device (uint8 stays uint8, and is cast in the graph); given are row numbers."""

    def __init__(self, arrays: Mapping[str, Any], where: Any = None) -> None:
        """Put nothing there yet; `where` is a sharding."""
        self._arrays, self._where = arrays, where

    @cached_property
    def data(self) -> dict[str, Any]:
        """The arrays on the device; a processor shares those that are `in_place`."""
        return jax.tree.map(lambda array: jax.device_put(array, self._where), dict(self._arrays))

    @property
    def in_place(self) -> int:
        """Count the bytes of arrays that the device, being a processor, takes as they lie, without a copy."""
        if jax.default_backend() != "cpu":
            return 0
        same = (v for v in jax.tree.leaves(dict(self._arrays)) if jax.dtypes.canonicalize_dtype(v.dtype) == v.dtype)
        return sum(value.nbytes for value in same if is_aligned(value))

    @property
    def shapes(self) -> dict[str, Any]:
        """Shapes and types of `data`."""
        return jax.tree.map(lambda array: _shape(array.shape, array.dtype, self._where), dict(self._arrays))

    def input_shapes(self, room: int, batch_size: int) -> jax.ShapeDtypeStruct:
        """Shape and type of what one dispatch is given."""
        return jax.ShapeDtypeStruct((room, batch_size), np.int32)

    def load(self, batches: np.ndarray, room: int) -> np.ndarray:
        """Pad to the room there is."""
        return np.pad(batches, ((0, room - len(batches)), (0, 0)), constant_values=PADDING)

    def batch_bytes(self, batch_size: int) -> int:
        """Count four bytes a row number."""
        return 4 * batch_size

    @staticmethod
    def pick(data: Mapping[str, Any], given: Array, i: Array) -> Batch:
        """Gather the rows; numbers are checked where they are made, since a gather on the device clips silently."""
        rows = given[i]
        index = jnp.maximum(rows, 0)
        picked = jax.tree.map(lambda array: jnp.take(array, index, axis=0, mode="clip"), dict(data))
        return {**picked, "mask": rows >= 0}


class Streamed:
    """The data set stays where its source has it; given are the batches themselves, `[room, B, ...]`."""

    in_place = 0  # bytes: nothing of the source is shared

    def __init__(self, source: Source, where: Any = None) -> None:
        """Read nothing but one row; `where` is the sharding of what is given, `[room, B, ...]`."""
        self.data: Mapping[str, Any] = {}
        self.shapes: Mapping[str, Any] = {}
        self._source, self._where = source, where
        self._one = source.read(np.zeros(1, np.int64))

    def load(self, batches: np.ndarray, room: int) -> dict[str, Any]:
        """Read these batches now."""
        return self.stack([self.read(rows) for rows in batches], room, batches.shape[1])

    def read(self, rows: np.ndarray) -> dict[str, Any]:
        """Read one batch, int32 [B] -> arrays [B, ...]; a padding row holds row 0, and is masked."""
        return {**self._source.read(np.maximum(rows, 0)), "mask": rows >= 0}

    def stack(self, batches: list[dict[str, Any]], room: int, batch_size: int) -> dict[str, Any]:
        """Put batches behind one another; what is left of the room is never looked at."""
        stacked = jax.tree.map(lambda s: np.empty(s.shape, s.dtype), self.input_shapes(room, batch_size))
        for i, batch in enumerate(batches):
            jax.tree.map(lambda array, value, i=i: operator.setitem(array, i, value), stacked, batch)
        return jax.device_put(stacked, self._where) if self._where else stacked

    def input_shapes(self, room: int, batch_size: int) -> dict[str, Any]:
        """Shapes and types of what one dispatch is given."""
        one = {**self._one, "mask": np.ones(1, bool)}
        return jax.tree.map(lambda v: _shape((room, batch_size, *v.shape[1:]), v.dtype, self._where), one)

    def batch_bytes(self, batch_size: int) -> int:
        """Count all arrays of a batch."""
        return batch_size * (1 + sum(value.nbytes for value in jax.tree.leaves(self._one)))

    @staticmethod
    def pick(data: Mapping[str, Any], given: Mapping[str, Any], i: Array) -> Batch:
        """Take the batch as it was read."""
        del data
        return jax.tree.map(lambda value: value[i], dict(given))


Feed = Resident | Streamed


def _shape(shape: tuple[int, ...], dtype: np.dtype, where: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype), sharding=where)


class ReadAhead:
    """Threads that read the batches of coming steps and hand them out in order, at most `ahead` in waiting.

    Threads are daemons: a source that hangs does not keep the process from ending.
    """

    def __init__(self, read: Callable[[int], dict[str, Any]], *, ahead: int, threads: int, patience: float) -> None:
        """Start the threads; `patience` is how many seconds to wait for one batch."""
        self.waited = 0.0  # seconds that training stood still for data
        self._read, self._ahead, self._patience = read, ahead, patience
        self._wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._ready = threading.Condition()
        self._done: dict[int, dict[str, Any] | Exception] = {}
        self._asked = self._next = 0
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"read {i}") for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def take(self, step: int, count: int) -> list[dict[str, Any]]:
        """Return the batches of the steps `step .. step + count - 1`, waiting for those that are not read yet."""
        if step != self._next:  # a resumed run starts anywhere
            with self._ready:
                self._done.clear()
                self._asked = self._next = step
        batches = []
        for number in range(step, step + count):
            for asked in range(self._asked, number + self._ahead):
                self._wanted.put(asked)
            self._asked = max(self._asked, number + self._ahead)
            batches.append(self._wait(number))
        self._next = step + count
        return batches

    def close(self) -> None:
        """Let the threads end."""
        for _ in self._threads:
            self._wanted.put(None)

    def _wait(self, number: int) -> dict[str, np.ndarray]:
        began = time.monotonic()
        with self._ready:
            if not self._ready.wait_for(lambda: number in self._done, self._patience):
                raise DataError(
                    f"the batch of step {number + 1} was not read within {self._patience:g} s (data.timeout): "
                    "the source is stalled, or too slow"
                )
            found = self._done.pop(number)
        self.waited += time.monotonic() - began
        if isinstance(found, DataError):
            raise found
        if isinstance(found, Exception):
            raise DataError(f"reading the batch of step {number + 1} failed: {found}") from found
        return found

    def _work(self) -> None:
        while (number := self._wanted.get()) is not None:
            try:
                found: dict[str, Any] | Exception = self._read(number)
            except Exception as error:  # raised again where the batch is waited for
                found = error
            with self._ready:
                if number >= self._next:
                    self._done[number] = found
                del found  # else each thread holds a batch beyond those that are read ahead
                self._ready.notify_all()


def read_ahead(feed: Streamed, pipeline: Pipeline, *, ahead: int, threads: int, patience: float) -> ReadAhead:
    """Read ahead along the order of a pipeline."""

    def read(step: int) -> dict[str, Any]:
        return feed.read(pipeline.indices(step, 1)[0])

    return ReadAhead(read, ahead=ahead, threads=threads, patience=patience)
