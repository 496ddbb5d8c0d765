"""What surrounds every request: who asks, the answer to errors, headers, and the metrics. ASGI."""

import time
import traceback
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import Response

from dltrain.serving.limits import Gone, Refused
from dltrain.serving.parse import dump_json
from dltrain.serving.service import Service

OPEN = ("/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready")
"""What needs no token: the page, which asks for it and holds nothing of the model, and what orchestrators ask."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: Any, service: Service) -> None:
        """Guard `app`, the routes of a service."""
        self._app, self._service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        began, service, code = time.monotonic(), self._service, 0
        scope |= {"began": began, "app": self}  # with an app, Starlette raises instead of answering 404 itself

        async def answer(message: Any) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            try:
                self._check(scope)
                await self._app(scope, receive, answer)
            except Exception as error:
                if isinstance(error, Gone):
                    raise
                if code:  # half an answer: uvicorn closes the connection
                    raise
                await self._error(error)(scope, receive, answer)
        except Gone:
            service.metrics.disconnected.add()
            return
        service.metrics.requests.add(_route(scope), str(code))
        service.metrics.latency.observe(time.monotonic() - began)

    def _check(self, scope: Any) -> None:
        """Raise Refused for a request from another website, or without the token."""
        headers = dict(scope["headers"])
        host, access = headers.get(b"host", b"").decode("latin-1"), self._service.access
        if access.hosts is not None and _name(host) not in access.hosts:
            names = ", ".join(sorted(access.hosts))
            raise Refused(403, f"Host: {host[:60]}; expected one of {names}", reason="host")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, f"Origin: {origin[:60]}; this server answers its own page only", reason="origin")
        if scope["path"] not in OPEN and not access.knows(headers.get(b"authorization", b"").decode("latin-1")):
            message = "expected the token of this server: Authorization: Bearer TOKEN"
            raise Refused(401, message, reason="token", www_authenticate="Bearer")

    def _error(self, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return _json(error.status_code, str(error.detail), dict(error.headers or {}))
        if isinstance(error, Refused):
            self._service.metrics.rejected.add(error.reason)
            return _json(error.status, str(error), error.headers)
        self._service.warn("".join(traceback.format_exception(error)).rstrip())
        return _json(500, "an error of the server, which its own output describes", {})


def _json(status: int, message: str, headers: dict[str, str]) -> Response:
    return Response(dump_json({"error": message}), status, headers, "application/json")


def _name(host: str) -> str:
    """Return a Host header without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _route(scope: Any) -> str:
    """Name the route of a request in the metrics: one of a fixed number of names."""
    endpoint = scope.get("endpoint")
    return getattr(endpoint, "__name__", "none") if endpoint else "none"
