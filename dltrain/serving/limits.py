"""What a server accepts at most, and the answers to what it refuses."""

import re
from dataclasses import dataclass
from typing import Any

from dltrain.errors import ConfigError

MIB = 1 << 20
DEPTH = 32  # of brackets in JSON
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.?)*+"?|[\[{]|[\]}]', re.DOTALL)  # strings are skipped, in one pass


class Refused(Exception):
    """A request that is not answered with a prediction: an HTTP status and what was expected instead."""

    def __init__(self, status: int, message: str, *, reason: str = "invalid", **headers: str) -> None:
        """Keep the status, the text, a word for the metrics, and headers (`retry_after` becomes Retry-After)."""
        super().__init__(message)
        self.status, self.reason = status, reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Gone(Exception):
    """The client has closed its connection: nobody waits for an answer."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Attributes:
        body: bytes of one request.
        rows: examples of one request.
        queue: requests that wait or are worked on; more get 503.
        seconds: time for a body to arrive, and for an answer.
        connections: open connections.
        memory: bytes of all bodies that have not been answered yet; more get 503.
        head_seconds: time for the headers of a request to arrive.
    """

    body: int = 16 * MIB
    rows: int = 1024
    queue: int = 256
    seconds: float = 30.0
    connections: int = 1000
    memory: int = 256 * MIB
    head_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a memory that no body of the largest size fits into."""
        if self.memory < self.body:
            raise ConfigError(f"max_body: {self.body:,} bytes are more than the {self.memory:,} for all bodies")

    def check_rows(self, count: int) -> None:
        """Raise Refused for too many examples, or none."""
        if count > self.rows:
            raise Refused(413, f"{count:,} rows in one request, more than {self.rows:,}", reason="rows")
        if not count:
            raise Refused(400, "there are no rows; expected at least one")


def full(message: str, *, reason: str) -> Refused:
    """Return the answer of a server that is busy: try again in a second."""
    return Refused(503, message, reason=reason, retry_after="1")


def check_depth(body: bytes, *, most: int = DEPTH) -> None:
    """Raise Refused if brackets of a JSON text are nested deeper than `most`."""
    depth = 0
    for found in _BRACKETS.finditer(body):
        first = found[0][0]
        depth += (first in b"[{") - (first in b"]}")
        if depth > most:
            raise Refused(400, f"JSON nested deeper than {most} brackets", reason="depth")


class Held:
    """Bytes of the bodies that wait for their answers, over all requests; of one event loop."""

    def __init__(self, most: int) -> None:
        """Begin with none of at most `most` bytes."""
        self.most, self.total = most, 0

    def take(self, count: int) -> None:
        """Add bytes, or raise Refused."""
        if self.total + count > self.most:
            raise full("the bodies of waiting requests fill the memory for them", reason="memory")
        self.total += count

    def give(self, count: int) -> None:
        """Return bytes."""
        self.total -= count


async def read_body(receive: Any, held: Held, taken: list[int], *, limits: Limits, declared: str | None) -> bytes:
    """Read the body of a request.

    Args:
        receive: of ASGI.
        held: the bytes of all requests.
        taken: receives the number of bytes taken from `held`, also if reading fails.
        limits: its size and the time it may take.
        declared: the header Content-Length, if there is one.

    Raises:
        Refused: 413 if it is too large, 408 if it is too slow, 503 if there is no memory for it.
        Gone: the client has closed the connection.
    """
    import asyncio

    if declared is not None and declared.isdigit() and int(declared) > limits.body:
        raise _too_large(limits)
    parts = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part = message.get("body", b"")
                if len(parts) + len(part) > limits.body:
                    raise _too_large(limits)
                held.take(len(part))
                taken.append(len(part))
                parts += part
                if not message.get("more_body", False):
                    return bytes(parts)
    except TimeoutError as error:
        message = f"the body did not arrive within {limits.seconds:g} s"
        raise Refused(408, message, reason="slow", connection="close") from error


def _too_large(limits: Limits) -> Refused:
    message = f"the body is larger than {limits.body:,} bytes"
    return Refused(413, message, reason="body", connection="close")
