"""Members of shards, read at random: open files are kept, and every process opens its own."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence

from dltrain.data.shards.tar_index import Index
from dltrain.errors import DataError

MOST_OPEN = 64  # files at a time, far below the limit of the system


class _Handle:
    """A file that is closed when the last thread that reads from it has ended."""

    def __init__(self, index: Index) -> None:
        """Open the file, if it is still the one of the index."""
        name, self.file = index.shard.name, -1
        try:
            self.file = os.open(str(index.shard.path), os.O_RDONLY)
            state = os.fstat(self.file)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            why = (
                "the shard is gone: it was there when the run began"
                if gone
                else f"cannot be read ({error.strerror})"
            )
            raise DataError(f"{name}: {why}") from error
        if (state.st_size, state.st_mtime_ns) != (index.shard.size, index.modified):
            raise DataError(
                f"{name}: was changed after it was indexed ({state.st_size:,} bytes, {index.shard.size:,} before)"
                "; restore it, or start again"
            )

    def __del__(self) -> None:
        """Close the file."""
        if self.file >= 0 and os.close is not None:  # it is None when Python ends
            os.close(self.file)


class Members:
    """The contents of members, by shard and place; may be used by many threads."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        """Open nothing yet."""
        self._indexes = indexes
        self._open: OrderedDict[int, _Handle] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()
        self._reading: dict[int, int] = {}

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return `size` bytes of a shard.

        Raises:
            DataError: the shard is gone, was changed, or ends before.
        """
        thread, name = threading.get_ident(), self._indexes[shard].shard.name
        self._reading[thread] = shard
        try:
            file = self._handle(shard).file
            data = os.pread(file, size, offset)
        except OSError as error:
            raise DataError(f"{name}: cannot be read ({error.strerror or error})") from error
        finally:
            self._reading.pop(thread, None)
        if len(data) < size:
            raise DataError(f"{name}: ends at byte {os.fstat(file).st_size:,}; it was cut short meanwhile")
        return data

    def reading(self) -> str:
        """Return the shards that threads wait for now, "" if there are none."""
        return ", ".join(dict.fromkeys(self._indexes[shard].shard.name for shard in list(self._reading.values())))

    def _handle(self, shard: int) -> _Handle:
        with self._lock:
            if self._process != os.getpid():  # a child process opens its own
                self._open, self._process = OrderedDict(), os.getpid()
            found = self._open.get(shard)
            if found is not None:
                self._open.move_to_end(shard)
                return found
        opened = _Handle(self._indexes[shard])  # outside of the lock: it may hang
        with self._lock:
            self._open[shard] = opened
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        return opened
