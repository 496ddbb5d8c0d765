"""Serve a run in a process of its own: `python slow_server.py RUN SECONDS key=value ...`; prints the URL.

SECONDS is how long each batch takes at least, with its lock held as a device would be busy.
"""

import faulthandler
import signal
import sys
import time
from typing import Any

import dltrain
from dltrain.serving.limits import Limits
from dltrain.serving.open import served_run
from dltrain.serving.server import Settings, serve


class Slowed:
    """A served model whose batches take time."""

    def __init__(self, model: Any, seconds: float) -> None:
        self._model, self._seconds = model, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def compile(self, size: int) -> Any:
        run = self._model.compile(size)

        def slow(*given: Any) -> Any:
            time.sleep(self._seconds)
            return run(*given)

        return slow if self._seconds else run


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    path, seconds, *words = sys.argv[1:]
    given = {key: float(value) for key, _, value in (word.partition("=") for word in words)}
    batch = int(given.pop("batch", 256))
    limits = Limits(**{key: value if "seconds" in key else int(value) for key, value in given.items()})
    model = Slowed(served_run(dltrain.open_run(path)), float(seconds))
    settings = Settings(port=0, batch=batch, limits=limits)
    serve(model, settings, say=lambda text: print(text, flush=True), warn=lambda text: print(text, file=sys.stderr))


if __name__ == "__main__":
    main()
