"""The file of a sweep whose runs repeat one training: what differs between them, and in the end their results."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.errors import CheckpointError
from dltrain.runs.files import Files
from dltrain.runs.sealed import read_sealed, seal

CROSSVAL, SEEDS = "crossval", "seeds"
"""The commands that repeat a training; their files are `crossval.json` and `seeds.json`."""

KEYS = {CROSSVAL: "data.fold", SEEDS: "seed"}
"""The key in which the runs of a command differ."""


@dataclass(frozen=True)
class Repeat:
    """A training that is repeated with several values of one key.

    Attributes:
        command: crossval or seeds.
        values: of the key, one for each run, in their order.
    """

    command: str
    values: tuple[int, ...]

    @property
    def key(self) -> str:
        """The key in which the runs differ."""
        return KEYS[self.command]

    @property
    def noun(self) -> str:
        """What one of the values is called."""
        return self.key.rpartition(".")[2]

    def words(self) -> list[str]:
        """Return the overrides of a sweep over these runs."""
        folds = [f"data.folds={len(self.values)}"] if self.command == CROSSVAL else []
        return [*folds, f"{self.key}={','.join(map(str, self.values))}"]

    def write(self, folder: Path, results: Mapping[str, Any] | None = None) -> Path:
        """Write the file into the folder of the sweep: before its runs train, and again with the results."""
        about = {"command": self.command, "values": list(self.values), **(results or {})}
        Files(folder).replace_json(f"{self.command}.json", seal(about))
        return folder / f"{self.command}.json"


def read_repeat(folder: Path) -> Repeat | None:
    """Read what the runs in the folder of a sweep repeat; None if it is another sweep.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = next((path for name in KEYS if (path := folder / f"{name}.json").is_file()), None)
    if path is None:
        return None
    saved = read_sealed(path)
    values = saved.get("values")
    if (
        saved.get("command") != path.stem
        or not isinstance(values, list)
        or not all(isinstance(v, int) for v in values)
    ):
        raise CheckpointError(f"{path} is damaged: it does not say what was repeated")
    return Repeat(path.stem, tuple(values))


def forget(folder: Path) -> None:
    """Delete the file of an earlier sweep."""
    for name in KEYS:
        Files(folder).remove(f"{name}.json")
