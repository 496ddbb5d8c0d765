"""Print the hash of a run's last checkpoint: equal hashes mean identical runs.

SHA-256 over parameters, model state, optimizer state, EMA, random key and step.
"""

from dltrain.config.call import Call
from dltrain.engine.state import state_hash
from dltrain.errors import ConfigError
from dltrain.report.console import print_warning
from dltrain.runs.folder import existing
from dltrain.runs.restore import load_newest


def run(call: Call) -> int:
    """Verify the newest checkpoint and print its state's hash and step."""
    if len(call.words) != 1 or call.overrides:
        raise ConfigError("hash: name one run folder: dltrain hash outputs/DATE/TIME-NAME")
    last = load_newest(existing(call.words[0]), warn=print_warning)
    print(f"{state_hash(last.leaves)}  step {last.step}")
    return 0
