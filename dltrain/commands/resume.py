"""Continue a run where it stopped, or extend it: dltrain resume RUN epochs=20.

RUN is a run folder. Keys that determine the result must not change (data, model, seed, batch size); the length
of training, logging, evaluation and checkpoints may change. A schedule keeps the length it started with, unless
schedule.stretch=true recomputes it.
"""

from dltrain.config.call import Call
from dltrain.config.changes import read_saved
from dltrain.devices import hosts
from dltrain.entry import joined, resume_run
from dltrain.errors import ConfigError
from dltrain.runs.folder import RunFolder, existing
from dltrain.runs.together import Borrowed


def run(call: Call) -> int:
    """Check that config and data are those of the run, then continue from its last checkpoint."""
    if len(call.words) != 1:
        raise ConfigError("resume: name one run folder: dltrain resume outputs/DATE/TIME-NAME")
    folder = existing(call.words[0])
    if not any(word.startswith("runtime.hosts=") for word in call.overrides):
        return _resume(call, folder)
    with joined(call.amend(read_saved(folder.config)).config["runtime"]):
        return _resume(call, folder if hosts.leads() else Borrowed(folder.path))


def _resume(call: Call, folder: RunFolder) -> int:
    resume_run(folder, call.amend, overrides=call.overrides)
    return 0
