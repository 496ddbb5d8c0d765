"""The routes of the server; Starlette."""

from collections.abc import Callable
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from dltrain.serving import oip, plain
from dltrain.serving.fields import FieldKind, columns_of
from dltrain.serving.guard import Guard
from dltrain.serving.limits import Refused, read_body
from dltrain.serving.openapi import openapi
from dltrain.serving.parse import dump_json
from dltrain.serving.service import Service

PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
ABOUT_MODEL = ("", "/versions/{version}")


def make_app(service: Service) -> Guard:
    """Return the ASGI application of a service."""
    handlers = Handlers(service)
    get = {
        "/v2": handlers.server,
        "/v2/health/live": handlers.live,
        "/v2/health/ready": handlers.live,
        "/signature": handlers.signature,
        "/openapi.json": handlers.description,
        "/metrics": handlers.metrics,
        **dict.fromkeys(PAGE, handlers.page),
    }
    post: dict[str, Any] = {"/predict": handlers.predict}
    for version in ABOUT_MODEL:
        path = f"/v2/models/{{model}}{version}"
        get |= {path: handlers.model, f"{path}/ready": handlers.ready}
        post[f"{path}/infer"] = handlers.infer
    routes = [Route(path, handler, methods=["GET"]) for path, handler in get.items()]
    routes += [Route(path, handler, methods=["POST"]) for path, handler in post.items()]
    return Guard(Router(routes, redirect_slashes=False), service)


class Handlers:
    """What answers the requests of each route."""

    def __init__(self, service: Service) -> None:
        """Answer for a service."""
        self._service = service
        self._files = {
            path: (resources.files("dltrain.serving").joinpath(name).read_bytes(), kind)
            for path, (name, kind) in PAGE.items()
        }

    async def server(self, request: Request) -> Response:
        """Answer with the metadata of the server."""
        del request
        return _json(oip.server_metadata())

    async def live(self, request: Request) -> Response:
        """Answer that the server runs; it listens only once everything is compiled. Says if it wants a token."""
        del request
        return Response(
            status_code=200, headers={"x-token-needed": str(int(self._service.access.token is not None))}
        )

    async def model(self, request: Request) -> Response:
        """Answer with the metadata of the model."""
        self._check_model(request)
        return _json(oip.model_metadata(self._service.model))

    async def ready(self, request: Request) -> Response:
        """Answer that the model can be asked."""
        self._check_model(request)
        return Response(status_code=200)

    async def signature(self, request: Request) -> Response:
        """Answer with the signature of the model, and what the page needs to know."""
        del request
        limits = self._service.limits
        bounds = {"rows": limits.rows, "body": limits.body, "seconds": limits.seconds}
        return _json({**self._service.model.signature, "limits": bounds})

    async def description(self, request: Request) -> Response:
        """Answer with the OpenAPI description."""
        del request
        service = self._service
        return _json(openapi(service.model, limits=service.limits, token=service.access.token is not None))

    async def metrics(self, request: Request) -> Response:
        """Answer with the metrics."""
        del request
        return Response(self._service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self, request: Request) -> Response:
        """Answer with a file of the page."""
        content, kind = self._files[request.url.path]
        return Response(content, media_type=kind)

    async def infer(self, request: Request) -> Response:
        """Answer an inference request."""
        self._check_model(request)
        model, header = self._service.model, request.headers.get(oip.HEADER)

        def parse(body: bytes) -> tuple[oip.Asked, Any]:
            asked = oip.parse_request(body, header, model=model, limits=self._service.limits)
            return asked, _named(asked, self._service)

        def write(asked: oip.Asked, decisions: Any) -> Response:
            content, headers = oip.response(asked, decisions, model=model)
            return Response(content, headers=headers)

        return await self._answer(request, parse, write)

    async def predict(self, request: Request) -> Response:
        """Answer for examples as a person writes them."""
        model, kind = self._service.model, request.headers.get("content-type", "")

        def parse(body: bytes) -> tuple[plain.Given, Any]:
            given = plain.parse(body, kind, model=model, limits=self._service.limits)
            return given, given.arrays

        def write(given: plain.Given, decisions: Any) -> Response:
            return _json(plain.answer(decisions, given, model=model))

        return await self._answer(request, parse, write)

    async def _answer(
        self, request: Request, parse: Callable[[bytes], tuple[Any, Any]], write: Callable[[Any, Any], Response]
    ) -> Response:
        """Read a body, decide, and write the answer; a full server refuses before it reads."""
        service, taken = self._service, []
        service.check_place()
        if encoding := request.headers.get("content-encoding"):
            raise Refused(415, f"Content-Encoding: {encoding[:40]}; expected none", reason="type")
        try:
            declared = request.headers.get("content-length")
            body = await read_body(request.receive, service.held, taken, limits=service.limits, declared=declared)
            with service.place():
                asked, arrays = await service.read(lambda: parse(body))
                decisions = await service.decide(arrays, receive=request.receive, began=request.scope["began"])
                return write(asked, decisions)
        finally:
            service.held.give(sum(taken))

    def _check_model(self, request: Request) -> None:
        name, version = request.path_params["model"], request.path_params.get("version", oip.VERSION)
        if name != self._service.model.name or version != oip.VERSION:
            known = f"{self._service.model.name}, version {oip.VERSION}"
            raise Refused(404, f"unknown model {name[:60]!r}, version {version[:20]}; this server has {known}")


def _named(asked: oip.Asked, service: Service) -> Any:
    """Return the arrays of a request: its own, or those of the columns that it names as a person would."""
    model = service.model
    fields = {field.name: field for field in model.fields}
    arrays = {tensor.name for tensor in model.inputs}  # texts and images of a table have the names of their columns
    if not set(asked.arrays) & (set(fields) - arrays) and not _all_texts(asked.arrays, fields):
        return model.check(asked.arrays)
    columns = {name: _column(values, name, fields) for name, values in asked.arrays.items()}
    if len({len(values) for values in columns.values()}) > 1:
        raise Refused(400, "inputs: the columns have different numbers of rows")
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return model.encode(columns_of(records, model.fields))


def _all_texts(arrays: Any, fields: Any) -> bool:
    return set(arrays) == set(fields) and all(isinstance(values, list) for values in arrays.values())


def _column(values: Any, name: str, fields: Any) -> list[Any]:
    """Return a tensor [N] or [N, 1] as values; of an image, BYTES are the content of its file."""
    if not isinstance(values, list):
        if values.size != len(values):
            raise Refused(400, f"inputs: {name[:60]}: expected the shape [rows] or [rows, 1] of a column")
        return values.reshape(-1).tolist()
    if name in fields and fields[name].kind is FieldKind.IMAGE:
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise Refused(400, f"inputs: {name[:60]}: expected texts in UTF-8") from error


def _json(content: Any) -> Response:
    return Response(dump_json(content), media_type="application/json")
