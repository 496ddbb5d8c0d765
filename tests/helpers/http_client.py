"""A small HTTP client for the tests of the server: one request with http.client, or thousands with asyncio."""

import asyncio
import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


def ask(url: str, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
    """Send one request; a body that is not bytes is sent as JSON. Header names have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body, named = json.dumps(body).encode(), JSON | named
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def head_of(path: str, body: bytes, headers: dict[str, str] = JSON) -> bytes:
    """Write the head of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{k}: {v}" for k, v in headers.items()), "", ""]).encode()


@dataclass
class Connection:
    """A connection of asyncio that is kept open."""

    url: str
    reader: Any = None
    writer: Any = None
    sent: int = field(default=0)

    async def open(self) -> "Connection":
        place = urlsplit(self.url)
        self.reader, self.writer = await asyncio.open_connection(place.hostname, place.port)
        return self

    async def post(self, path: str, body: bytes, headers: dict[str, str] = JSON) -> Answer:
        self.writer.write(head_of(path, body, headers) + body)
        return await self.read()

    async def read(self) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
