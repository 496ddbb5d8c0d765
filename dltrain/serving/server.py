"""A server that runs: compiled programs, a port, and an orderly end."""

import asyncio
import contextlib
import math
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from dltrain.errors import ConfigError
from dltrain.serving.batches import sizes_up_to
from dltrain.serving.model import Served
from dltrain.serving.service import Service
from dltrain.serving.settings import Settings
from dltrain.startup import handling

BACKLOG = 2048
KEEP_ALIVE = 30  # seconds that an idle connection stays open
SPARE_FILES = 1000  # besides the connections
DRAIN = 25  # seconds for answers after SIGTERM; orchestrators kill after 30
MISSING = "dltrain serve: needs starlette and uvicorn, which are not installed: pip install 'dltrain[serve]'"


def check_installed() -> None:
    """Raise ConfigError if the packages of the extra `serve` are missing."""
    try:
        import starlette
        import uvicorn

        del starlette, uvicorn
    except ImportError as error:
        raise ConfigError(MISSING) from error


def serve(model: Served, settings: Settings, *, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Serve a model until SIGTERM or Ctrl-C; requests that have arrived by then are answered.

    Args:
        model: the model.
        settings: where and how.
        say: told where the server is, once it answers.
        warn: told of errors of the server itself.

    Raises:
        ConfigError: the address or port cannot be used, or the extra is missing.
    """
    running = _Running(model, settings, say=say, warn=warn)
    asyncio.run(running.main())


@contextlib.contextmanager
def serving(
    model: Served, settings: Settings | None = None, *, warn: Callable[[str], None] = print
) -> Generator[str, None, None]:
    """Serve a model in another thread, on a free port unless one is set; yields the URL.

    Args:
        model: the model.
        settings: where and how.
        warn: told of errors of the server itself.
    """
    running = _Running(model, settings or Settings(port=0), say=lambda line: None, warn=warn)
    thread = threading.Thread(target=lambda: asyncio.run(running.main()), name="server", daemon=True)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            time.sleep(0.005)
        yield running.url
    finally:
        running.stop()
        thread.join()


class _Running:
    """A server and its parts, in this order: port, programs, threads, connections."""

    def __init__(
        self, model: Served, settings: Settings, *, say: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        check_installed()
        self._model, self._settings, self._say, self._warn = model, settings, say, warn
        self._socket = _bound(settings)
        began = time.monotonic()
        self._sizes = sizes_up_to(settings.batch)
        self._compiled = {size: model.compile(size) for size in self._sizes}
        self._seconds = time.monotonic() - began
        self._server: Any = None

    @property
    def url(self) -> str:
        """Where the server is."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def started(self) -> bool:
        """Whether it answers."""
        return self._server is not None and self._server.started

    def stop(self) -> None:
        """End the server, after it has answered what has arrived."""
        if self._server is not None:
            self._server.should_exit = True

    async def main(self) -> None:
        """Run until the server is to end."""
        import uvicorn

        from dltrain.serving.app import make_app
        from dltrain.serving.connection import connections

        settings = self._settings
        about = {"limits": settings.limits, "access": settings.access, "delay": settings.delay, "warn": self._warn}
        service = Service(self._model, self._compiled, **about)
        config = uvicorn.Config(
            make_app(service),
            http=connections(settings.limits),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=math.ceil(min(DRAIN, settings.limits.seconds + 1)),
        )
        _allow_files(settings.limits.connections + SPARE_FILES)
        self._server = _drained(uvicorn.Server)(config, self._announce)
        try:
            await self._server.serve([self._socket])
        finally:
            service.close()
            self._socket.close()

    def _announce(self) -> None:
        sizes = ", ".join(map(str, self._sizes))
        self._say(f"compiled for batches of {sizes} in {self._seconds:.1f} s")
        self._say(f"{self._model.name} is served at {self.url} (Ctrl-C ends it)")


def _drained(server: Any) -> Any:
    """Return uvicorn's server with other signals: it ends with exit code 0 instead of raising the signal again."""

    class Server(server):
        def __init__(self, config: Any, announce: Callable[[], None]) -> None:
            super().__init__(config)
            self._announce = announce

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            self._announce()

        def capture_signals(self) -> Any:
            return _catching_signals(self)

    return Server


def _bound(settings: Settings) -> socket.socket:
    """Return a socket with the port, which does not listen yet: a port in use shows before anything is compiled."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY only then
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"host={settings.host} port={settings.port}: cannot be used ({reason}); port=0 takes a free one"
        ) from error
    return found


@contextlib.contextmanager
def _catching_signals(server: Any) -> Generator[None, None, None]:
    """End the server on SIGTERM and Ctrl-C, in the main thread; a second signal does not wait for answers."""

    def end(number: int, frame: Any) -> None:
        del number, frame
        server.force_exit = server.should_exit
        server.should_exit = True

    with handling(end, signal.SIGTERM, signal.SIGINT):
        yield


def _allow_files(wanted: int) -> None:
    """Allow this process enough open files for its connections, as far as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
