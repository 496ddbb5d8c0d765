"""Check every checkpoint of a run against its checksums: dltrain verify RUN.

Exit code 0 if all are intact, 4 if any is damaged, of another run or missing, or there is none. Nothing is changed.
"""

from pathlib import Path

from dltrain.config.call import Call
from dltrain.errors import CheckpointError, ConfigError
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder, existing
from dltrain.runs.restore import is_of_another_run, missing_newest


def run(call: Call) -> int:
    """Print one line per checkpoint."""
    if len(call.words) != 1 or call.overrides:
        raise ConfigError("verify: name one run folder: dltrain verify outputs/DATE/TIME-NAME")
    folder = existing(call.words[0])
    missing = missing_newest(folder)
    found = checkpoint.inspect_all(folder.checkpoints)
    for step in found:
        path = folder.checkpoints / checkpoint.name_of(step)
        found[step] = wrong = found[step] or _of_another_run(folder, path)
        print(f"{path}  {'; '.join(wrong[:3]) if wrong else 'intact'}")
    for path in checkpoint.leftovers(folder.checkpoints):
        print(f"{path}  not a checkpoint: being written, unfinished, or damaged and moved aside; never read")
    if not found:
        raise CheckpointError(f"{folder.checkpoints}: there is no checkpoint")
    if damaged := sum(map(bool, found.values())):
        raise CheckpointError(f"{damaged} of {len(found)} checkpoints are damaged; resume uses the last intact one")
    if missing:
        raise CheckpointError(missing)
    return 0


def _of_another_run(folder: RunFolder, path: Path) -> list[str]:
    """Return that an intact checkpoint is of another run, if it is."""
    try:
        about = checkpoint.read_about(path)
    except FileNotFoundError:  # pruned meanwhile
        return []
    return ["was written by another run"] if is_of_another_run(folder, about) else []
