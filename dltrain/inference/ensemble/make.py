"""Make an ensemble: choose runs, evaluate them alone and together, calibrate, and write its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.model import make_model_parts
from dltrain.build.objective import make_objective
from dltrain.data.progress import progress
from dltrain.errors import ConfigError
from dltrain.inference.ensemble.calibrate import (
    HIGHEST,
    LOWEST,
    Calibrated,
    calibrate_outputs,
    has_classes,
    with_temperature,
)
from dltrain.inference.ensemble.choose import Chosen, choose, value_of
from dltrain.inference.ensemble.combine import combine
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.ensemble.folds import FILE, OutOfFold, out_of_fold, out_of_fold_csv
from dltrain.inference.ensemble.measure import Measure
from dltrain.inference.ensemble.members import Amend, open_members
from dltrain.inference.ensemble.saved import SavedEnsemble, saved_members
from dltrain.inference.scores.classes import further_metrics
from dltrain.runs.files import Files
from dltrain.runs.folder import ENSEMBLE, RunFolder
from dltrain.runs.restore import Warn
from dltrain.types import Kind, Spec

SPLITS = ("validation", "test")
OUT_OF_FOLD = "out-of-fold"
SHOWN = ("log_loss", "ece")  # further metrics of classes


@dataclass(frozen=True)
class Measured:
    """Metrics of the members and of the ensemble on the same examples: name -> value.

    Attributes:
        split: validation, test, or out-of-fold, which each member predicts a part of.
        examples: their number.
        members: of each run; empty for out-of-fold.
        ensemble: of the mean; for out-of-fold, of the predictions of all folds.
        calibrated: with the temperature; empty without one.
    """

    split: str
    examples: int
    members: tuple[Mapping[str, float], ...]
    ensemble: Mapping[str, float]
    calibrated: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {name: value for name, value in vars(self).items() if name != "split"}


@dataclass(frozen=True)
class Made:
    """An ensemble that was made: its members, what was measured, and what was left out and why."""

    ensemble: Ensemble
    chosen: Chosen
    measured: tuple[Measured, ...]
    calibration: Calibrated | None
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    folded: OutOfFold | None = None  # of a cross-validation
    fold_measure: Measure | None = None  # of these predictions: it has room for all of them


def make_ensemble(
    paths: Sequence[Path],
    amend: Amend,
    *,
    output: str | Path,
    top: int = 5,
    calibrate: bool = True,
    overwrite: bool = False,
    folds_to: Path | None = None,
    warn: Warn,
) -> Made:
    """Make an ensemble of the best runs, and write its folder.

    Args:
        paths: run folders.
        amend: makes the checked config of a run folder.
        output: the folder to write.
        top: the most members.
        calibrate: whether to fit a temperature, for classes.
        overwrite: whether an ensemble that is there is replaced.
        folds_to: where the out-of-fold predictions of a cross-validation go; None: into the folder.
        warn: is told what could not be checked.

    Raises:
        ConfigError: the runs cannot be averaged, or the folder is something else.
        CheckpointError: a file of a run is missing or damaged.
        DataError: the data of the runs cannot be read, or has changed.
    """
    place = Path(output).expanduser()
    _check_place(place, overwrite=overwrite)
    chosen = choose(paths, top=top)
    folders = [record.folder for record in chosen.records]
    runs = open_members(folders, amend, checkpoints=["best"] * len(folders), warn=warn)
    plain, notes = Ensemble(RunFolder(place), runs), list(chosen.notes)
    maker = _Maker(plain, notes, folds=chosen.folds)
    folded = out_of_fold(plain) if chosen.folds else None
    outputs = maker.outputs()
    calibration = maker.calibration(outputs, folded) if calibrate else None
    temperature = calibration.temperature if calibration else 1.0
    measured = maker.measured(outputs, folded, temperature, calibrated=calibration is not None)
    ensemble = Ensemble(plain.folder, runs, temperature=temperature)
    members = saved_members(runs, [value_of(record) for record in chosen.records], output=place)
    results = {found.split: found.to_json() for found in measured}
    saved = SavedEnsemble(members, chosen.monitor, temperature, calibration, chosen.folds, results)
    files = Files(place)
    if overwrite:  # of the ensemble that was there before
        files.remove_tree("evaluation")
        files.remove(FILE)
    written = [*_write_folds(folded, plain.spec, Files(folds_to or place), notes)]
    files.replace_json(ENSEMBLE, saved.to_json())
    files_written = (place / ENSEMBLE, *written)
    return Made(
        ensemble, chosen, tuple(measured), calibration, files_written, tuple(notes), folded, maker.fold_measure
    )


class _Maker:
    """Evaluates the members of an ensemble alone and together."""

    def __init__(self, ensemble: Ensemble, notes: list[str], *, folds: int) -> None:
        self._ensemble, self._notes, self._folds = ensemble, notes, folds
        self._program = ensemble.program
        spec = self._program.parts.spec
        self._spec, self._read = spec, self._program.parts.source.read
        self._further = _further(spec, self._program.parts.metrics)
        self._measure = Measure.of_program(self._program, further=self._further)
        self.fold_measure: Measure | None = None

    def outputs(self) -> dict[str, list[np.ndarray]]:
        """Return the outputs of each member on the splits that all share: split -> [N, ...] of each."""
        shared = [split for split in self._ensemble.splits() if split in SPLITS]
        for split in SPLITS[self._folds > 0 :]:  # folds are divided like that
            if split not in shared and any(len(self._ensemble.split_of(i, split)) for i in self._numbers):
                self._notes.append(
                    f"the runs have different {split} examples: not used, others may have seen them."
                )
        if not shared:
            self._notes.append(
                "there is nothing to evaluate on; dltrain evaluate takes other data: data.path=FILE."
            )
        found: dict[str, list[np.ndarray]] = {split: [] for split in shared}
        with progress("evaluating", len(self._numbers), unit="runs") as advance:
            for i in self._numbers:
                for split in shared:
                    found[split].append(self._ensemble.member_outputs(i, self._examples(split)))
                advance(1)
        return found

    def calibration(
        self, outputs: Mapping[str, Sequence[np.ndarray]], folded: OutOfFold | None
    ) -> Calibrated | None:
        """Fit a temperature on the validation examples or the out-of-fold predictions; None if there are none."""
        if not has_classes(self._spec.task):
            self._notes.append(f"calibration: a temperature is for classes, not for task={self._spec.task}.")
            return None
        if folded is not None:
            found = calibrate_outputs(folded.outputs, folded.targets, of=OUT_OF_FOLD)
        elif "validation" in outputs:
            together = combine(outputs["validation"], self._spec.task)
            found = calibrate_outputs(together, self._targets("validation"), of="validation")
        else:
            self._notes.append(
                "calibration: there are no validation examples that all runs share, so none is done."
            )
            return None
        if found.at_bound:
            self._notes.append(
                f"calibration: the log loss has no minimum from {LOWEST:g} to {HIGHEST:g}: too few of the "
                f"{found.examples:,} examples are wrong to fit a temperature, so none is used."
            )
            return None
        return found

    def measured(
        self,
        outputs: Mapping[str, Sequence[np.ndarray]],
        folded: OutOfFold | None,
        temperature: float,
        *,
        calibrated: bool,
    ) -> list[Measured]:
        """Return the metrics of the members, the ensemble, and the calibrated one."""
        found = []
        if folded is not None:
            measure = Measure.of_program(self._program, own=self._roomy(folded.targets), further=self._further)
            self.fold_measure = measure
            rows = self._pair(measure, folded.outputs, folded.examples, temperature, calibrated=calibrated)
            found.append(Measured(OUT_OF_FOLD, len(folded.examples), (), *rows))
        for split, each in outputs.items():
            examples = self._examples(split)
            members = tuple(self._measure(one, self._read, examples).scalars for one in each)
            together = combine(each, self._spec.task)
            rows = self._pair(self._measure, together, examples, temperature, calibrated=calibrated)
            found.append(Measured(split, len(examples), members, *rows))
        return found

    @property
    def _numbers(self) -> range:
        return range(len(self._ensemble.runs))

    def _examples(self, split: str) -> np.ndarray:
        return self._ensemble.split_of(0, split)

    def _targets(self, split: str) -> np.ndarray:
        return self._read(self._examples(split))["targets"]

    def _roomy(self, targets: np.ndarray) -> dict[str, Any]:
        """Return the metrics of the run with room for the scores of these examples: more than any split has."""
        run, parts = self._ensemble.runs[0], self._program.parts
        spec = parts.raw_spec
        if spec.has_labels:
            counts = tuple(np.bincount(targets, minlength=len(spec.classes)).tolist())
            spec = replace(spec, counts={**spec.counts, OUT_OF_FOLD: counts})
        objective = make_objective(run.config, run.folder.trust)
        return make_model_parts(run.config, run.folder.trust, objective, spec, parts.preprocess).metrics

    def _pair(
        self, measure: Measure, outputs: np.ndarray, examples: np.ndarray, temperature: float, *, calibrated: bool
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the metrics before and after calibration; {} for none."""
        with_it = with_temperature(outputs, temperature)
        after = measure(with_it, self._read, examples).scalars if calibrated else {}
        return measure(outputs, self._read, examples).scalars, after


def _further(spec: Spec, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics besides those of the run: of classes log loss and calibration error, else if it has none."""
    if len(spec.targets) != 1 or (own and spec.task.target_kind is not Kind.CATEGORY):
        return {}
    found = further_metrics(spec)
    wanted = SHOWN if spec.task.target_kind is Kind.CATEGORY else tuple(found)
    return {name: found[name] for name in wanted if name not in own}


def _write_folds(folded: OutOfFold | None, spec: Spec, files: Files, notes: list[str]) -> list[Path]:
    """Write the out-of-fold predictions, and return the file."""
    if folded is None:
        return []
    try:
        text = out_of_fold_csv(folded, spec)
    except ConfigError as error:
        notes.append(f"{FILE} is not written: {error}")
        return []
    files.replace_text(FILE, text)
    return [files.path / FILE]


def _check_place(place: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if something else than an ensemble is there, or one that is not to be replaced."""
    if place.exists() and not place.is_dir():
        raise ConfigError(f"output={place}: is a file; name a folder")
    if (place / "config.yaml").exists():
        raise ConfigError(f"output={place}: is a run folder; name another one")
    if (place / ENSEMBLE).exists() and not overwrite:
        raise ConfigError(f"output={place}: has an ensemble; overwrite=true replaces it")
