"""Content of `ensemble.json`: the runs of an ensemble, their checkpoints and weights, and the temperature."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.devices import runtime
from dltrain.engine.state import state_hash
from dltrain.errors import CheckpointError
from dltrain.inference.ensemble.calibrate import Calibrated, saved_calibration
from dltrain.inference.run import Run
from dltrain.runs.folder import ENSEMBLE, RunFolder
from dltrain.runs.sealed import read_sealed, seal

VERSION = 1


@dataclass(frozen=True)
class SavedMember:
    """A run of an ensemble.

    Attributes:
        path: where the run folder was when the ensemble was made.
        relative: the same, from the folder of the ensemble: both may be moved together.
        run: the id of the run.
        step: the step of its checkpoint.
        hash: of the state in the checkpoint, as `dltrain hash` prints it.
        value: the monitored metric of this checkpoint; None if nothing was monitored.
        weight: of its predictions in the mean; all are equal.
    """

    path: str
    relative: str
    run: str | None
    step: int
    hash: str
    value: float | None
    weight: float

    def find(self, ensemble: Path) -> RunFolder:
        """Return the run folder: next to the ensemble as before, or at its old path.

        Raises:
            CheckpointError: there is none, or it is of another run.
        """
        places = list(dict.fromkeys([Path(os.path.normpath(ensemble / self.relative)), Path(self.path)]))
        folders = [RunFolder(place) for place in places if (place / "config.yaml").is_file()]
        mine = [folder for folder in folders if folder.run_id() == self.run]
        if mine:
            return mine[0]
        if folders:
            raise CheckpointError(
                f"{folders[0].path}: is another run than the one that the ensemble {ensemble} was made of; put it "
                "back, or make the ensemble again"
            )
        raise CheckpointError(
            f"{ensemble}: its run {self.path} is gone (looked at {', '.join(map(str, places))}); put it back, or "
            "make the ensemble again"
        )

    def check(self, run: Run) -> None:
        """Raise CheckpointError if the checkpoint has other weights than when the ensemble was made."""
        if state_hash(run.state) != self.hash:
            raise CheckpointError(
                f"{run.path}: its checkpoint of step {self.step} has other weights than when the ensemble was "
                "made; make the ensemble again"
            )


@dataclass(frozen=True)
class SavedEnsemble:
    """What `ensemble.json` says."""

    members: tuple[SavedMember, ...]
    monitor: str  # the split and metric by which they were chosen; "" for none
    temperature: float
    calibration: Calibrated | None
    folds: int  # K if the members are the K folds of one cross-validation, else 0
    results: Mapping[str, Any]  # split -> name -> metrics, for people

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return seal({
            "version": VERSION,
            "members": [vars(member) for member in self.members],
            "monitor": self.monitor,
            "temperature": self.temperature,
            "calibration": self.calibration and self.calibration.to_json(),
            "folds": self.folds,
            "results": self.results,
            "versions": runtime.versions(),
        })  # fmt: skip


def saved_members(runs: Sequence[Run], values: Sequence[float | None], *, output: Path) -> tuple[SavedMember, ...]:
    """Describe the members of an ensemble in the folder `output`, with the monitored metric of each."""
    place = output.expanduser().resolve()
    found = []
    for run, value in zip(runs, values, strict=True):
        path = run.path.resolve()
        about = (str(path), os.path.relpath(path, place), run.folder.run_id(), run.step, state_hash(run.state))
        found.append(SavedMember(*about, value, 1 / len(runs)))
    return tuple(found)


def read_ensemble(path: Path) -> SavedEnsemble:
    """Read `ensemble.json` of a folder.

    Raises:
        CheckpointError: it is missing or damaged, or another version of dltrain wrote it.
    """
    file = path / ENSEMBLE
    found = read_sealed(file)
    if found.get("version") != VERSION:
        raise CheckpointError(
            f"{file}: version {found.get('version')!r} is not known; this dltrain reads version {VERSION}"
        )
    try:
        members = tuple(_member(saved) for saved in found["members"])
        calibration = found["calibration"] and saved_calibration(found["calibration"])
        temperature = float(found["temperature"])
        if not members or not temperature > 0:
            raise ValueError(f"{len(members)} members, temperature {temperature}")
        folds, monitor = int(found["folds"]), str(found["monitor"])
        return SavedEnsemble(members, monitor, temperature, calibration, folds, dict(found["results"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error


def _member(saved: Mapping[str, Any]) -> SavedMember:
    """Return a member, with its types checked."""
    found = SavedMember(**saved)
    texts = (found.path, found.relative, found.hash)
    if not all(isinstance(text, str) and "\0" not in text for text in texts) or not isinstance(found.step, int):
        raise ValueError(f"a member is {saved!r:.80}")
    return found
