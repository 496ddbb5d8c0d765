"""HTTP connections of uvicorn with two bounds that it does not have: time for the headers, and their number."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dltrain.serving.limits import Limits

SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

REFUSED = 1.0  # seconds after which a connection too many is closed


def connections(limits: Limits) -> type[H11Protocol]:
    """Return the class of connections with these limits, for uvicorn's `http`."""

    class Connection(H11Protocol):
        """A connection whose headers must arrive in time; bodies are timed by `read_body`."""

        _timer: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._refused = len(self.connections) > limits.connections
            if self._refused:
                transport.write(BUSY)
                transport.write_eof()  # a client that still sends would see a reset instead of the answer
                self.loop.call_later(REFUSED, transport.close)
                return
            self._time_headers()

        def data_received(self, data: bytes) -> None:
            if not self._refused:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self._time_headers()
            else:
                self._stop()

        def _time_headers(self) -> None:
            """Begin to count; what has begun goes on, however many bytes arrive one by one."""
            if self._timer is None:
                self._timer = self.loop.call_later(limits.head_seconds, self._too_slow)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_slow(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(SLOW)
                self.transport.close()

    return Connection
