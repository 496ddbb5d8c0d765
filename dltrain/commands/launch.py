"""Train in several processes: dltrain launch local processes=4 -- model=cnn data=mnist.

The first word is a launcher, which starts the processes and shows what they print, each line with the number of its
process. What follows -- is a command line of dltrain: a training, or resume RUN. `dltrain launch LAUNCHER --help`
lists the options of a launcher.
"""

import importlib
from pathlib import Path

from dltrain import launchers
from dltrain.config.call import Call
from dltrain.config.hints import nearest
from dltrain.errors import ConfigError

LAUNCHERS = sorted(p.stem for p in Path(launchers.__path__[0]).glob("*.py") if not p.stem.startswith("_"))


def run(call: Call) -> int:
    """Check the words, and let the launcher start them."""
    name = call.words[0] if call.words else ""
    if name not in LAUNCHERS or len(call.words) > 1:
        other = call.words[1] if name in LAUNCHERS else name
        raise ConfigError(
            f"launch {other}: no such launcher{nearest(other, LAUNCHERS)} (launchers: {', '.join(LAUNCHERS)}); "
            "type dltrain launch local processes=2 -- model=cnn"
        )
    if not call.passed:
        raise ConfigError(f"launch {name}: what to train comes after --: dltrain launch {name} ... -- model=cnn")
    config = call.compose_passed().config  # what cannot train is refused before anything is queued or started
    return importlib.import_module(f"dltrain.launchers.{name}").launch(call.passed, call.options, config)
