"""Check every checkpoint of a run against its checksums: dltrain verify RUN.

Exit code 0 if all are intact, 4 if any is damaged or there is none. Nothing is changed.
"""

from dltrain.config.call import Call
from dltrain.errors import CheckpointError, ConfigError
from dltrain.runs import checkpoint
from dltrain.runs.folder import existing


def run(call: Call) -> int:
    """Print one line per checkpoint."""
    if len(call.words) != 1 or call.overrides:
        raise ConfigError("verify: name one run folder: dltrain verify outputs/DATE/TIME-NAME")
    folder = existing(call.words[0])
    found = checkpoint.inspect_all(folder.checkpoints)
    for step, wrong in found.items():
        path = folder.checkpoints / checkpoint.name_of(step)
        print(f"{path}  {'; '.join(wrong[:3]) if wrong else 'intact'}")
    for path in checkpoint.leftovers(folder.checkpoints):
        print(f"{path}  not a checkpoint: being written, unfinished, or damaged and moved aside; never read")
    if not found:
        raise CheckpointError(f"{folder.checkpoints}: there is no checkpoint")
    if damaged := sum(map(bool, found.values())):
        raise CheckpointError(f"{damaged} of {len(found)} checkpoints are damaged; resume uses the last intact one")
    return 0
