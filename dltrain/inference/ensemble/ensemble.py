"""Several trained runs that predict together; used like a run: `predict`, `predict_file`, `evaluate`, `scores`."""

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.data.records.open import open_records
from dltrain.data.split import NAMES
from dltrain.engine.evaluate import Evaluation
from dltrain.errors import ConfigError, DataError
from dltrain.inference.bundle import Bundle
from dltrain.inference.ensemble.calibrate import with_temperature
from dltrain.inference.ensemble.combine import combine
from dltrain.inference.ensemble.measure import CombinedEvaluator, Measure
from dltrain.inference.ensemble.members import Amend, open_members
from dltrain.inference.ensemble.saved import read_ensemble
from dltrain.inference.ensemble.together import Together, distinct
from dltrain.inference.given import Given, given_inputs, given_targets
from dltrain.inference.predict import OnBad, Predicted, no_predictions, predict_records
from dltrain.inference.predictions import Predictions
from dltrain.inference.run import OTHER, Run
from dltrain.inference.scores import Scores, score_split
from dltrain.runs.folder import RunFolder
from dltrain.runs.restore import Warn
from dltrain.types import Spec


class Ensemble:
    """Runs that predict the same thing, and what they predict together.

    Each member encodes examples by what was fitted to its own training examples. Of classes and labels the ensemble
    predicts the mean of the probabilities, of numbers the mean of the values; all members count alike.

    Attributes:
        folder: the folder of the ensemble.
        runs: its members.
        temperature: probabilities of classes become softmax(log p / temperature).
    """

    def __init__(self, folder: RunFolder, runs: Sequence[Run], *, temperature: float = 1.0) -> None:
        """Take opened runs that were checked to be alike."""
        self.folder, self.runs, self.temperature = folder, tuple(runs), temperature

    def __repr__(self) -> str:
        """Name the folder, and count the runs."""
        return f"Ensemble({str(self.path)!r}, {len(self.runs)} runs)"

    @property
    def path(self) -> Path:
        """The folder of the ensemble."""
        return self.folder.path

    @property
    def about(self) -> str:
        """What predicts, in words."""
        calibrated = f", temperature {self.temperature:.3g}" if self.temperature != 1 else ""
        return f"mean of {len(self.runs)} run{'s' * (len(self.runs) > 1)}{calibrated}"

    @property
    def config(self) -> dict[str, Any]:
        """The config of the first member, including changes made when it was opened."""
        return self.runs[0].config

    @property
    def step(self) -> None:
        """None: each member has a step of its own."""
        return None

    @property
    def steps(self) -> list[int]:
        """The steps of the members' checkpoints."""
        return [run.step for run in self.runs]

    @property
    def spec(self) -> Spec:
        """The features of the data, by name, as the first member has them."""
        return self._first.raw_spec

    def outputs(self, inputs: Any) -> np.ndarray:
        """Return the outputs of the ensemble, [N, ...], in the units of the data; inputs as for `predict`.

        Of classes they are the logarithms of the probabilities, of labels and of two classes their logits.
        """
        return with_temperature(self._mean_outputs([inputs] * len(self.runs)), self.temperature)

    def predict(self, inputs: Any) -> Predictions:
        """Return what the ensemble predicts for examples as people have them; see `Bundle.predict`."""
        return self._predictions([inputs] * len(self.runs))

    def predict_file(
        self,
        path: str | Path,
        output: str,
        *,
        on_bad: OnBad = OnBad.EMPTY,
        keep: Sequence[str] = (),
        overwrite: bool = False,
    ) -> Predicted:
        """Predict for the examples of a file or folder, and write the predictions; arguments as for `Run`.

        Raises:
            DataError: the file cannot be read, or has no good example.
            DiskError: the output cannot be written.
        """
        place = Path(path).expanduser().absolute()
        firsts, kinds = distinct([run.bundle.encoder for run in self.runs])
        readers = [
            open_records(place, self.runs[i].bundle.encoder, self.runs[i].spec, keys=self.config["data"], keep=keep)
            for i in firsts
        ]
        return predict_records(
            lambda inputs: self._predictions([inputs[kind] for kind in kinds]),
            Together(place, readers),
            output,
            empty=partial(no_predictions, self._first),
            on_bad=OnBad(on_bad),
            overwrite=overwrite,
        )

    def evaluate(
        self, split: str | None = None, *, inputs: Any = None, targets: Any = None, **for_loss: Any
    ) -> dict[str, Any]:
        """Return each metric of the members on a split of their data, or on given examples; arguments as for `Run`.

        Raises:
            ConfigError: the members have different examples in the split.
            DataError: the data cannot be read, or has changed; or the examples do not fit the models.
        """
        if (split is None) == (inputs is None):
            raise ConfigError("evaluate: give either a split, or inputs and targets")
        if split is not None:
            found = self.evaluation(split)
            return {**found.scalars, **found.arrays}
        first = self._first
        taken = given_inputs(inputs, first.array_spec, first.preprocess)
        source = Given({"inputs": taken, **given_targets(targets, for_loss, first.array_spec)}, first.array_spec)
        found = Measure.of_bundle(first)(self.outputs(inputs), source.read, np.arange(len(source)))
        return {**found.scalars, **found.arrays}

    def evaluation(self, split: str) -> Evaluation:
        """Evaluate a split of the members' data, with the loss of each example."""
        return self.program.evaluate(self.placed_state, self.checked_split(split))

    def scores(self, split: str = "test", *, tta: str = "none", **options: Any) -> Scores:
        """Return every metric of a split, overall and per class or target, with intervals; see `Run.scores`."""
        if tta != "none":
            raise ConfigError(f"tta={tta}: is for a single run, not for an ensemble")
        return score_split(self.program, self.placed_state, self.checked_split(split), **options)

    def splits(self) -> list[str]:
        """Return the names of the splits that all members share, `["other"]` of other data; reads the data."""
        if self.other_data:
            return [OTHER]
        return [name for name in NAMES if self._shares(name) and len(self._programs[0].parts.splits[name])]

    def checked_split(self, split: str) -> str:
        """Return the split of the program that has these examples.

        Raises:
            ConfigError: there are none, or those of the members differ, so that some were trained on them.
        """
        name = self.runs[0].checked_split(split)
        if self._shares(name):
            return name
        shared = [name for name in self.splits() if name != "train"]
        instead = f"use split={shared[-1]}" if shared else "use other data: data.path=FILE"
        raise ConfigError(
            f"split={split}: the members of {self.path} have different {split} examples, so that others may have "
            f"been trained on them; {instead}"
        )

    @property
    def other_data(self) -> str:
        """What is evaluated instead of the runs' own data, by name; "" if it is their own."""
        return self.runs[0].other_data

    @property
    def placed_state(self) -> Any:
        """The state of the first member, for functions that take a program with its state."""
        return self.runs[0].placed_state

    @cached_property
    def program(self) -> Program:
        """The program of the first member, whose evaluator is that of the ensemble; its data is read."""
        first = self._programs[0]
        found = copy.copy(first)
        evaluator = CombinedEvaluator(self.outputs_of, Measure.of_program(first), first.parts.source.read)
        vars(found)["evaluator"] = evaluator  # in place of the cached property
        return found

    def outputs_of(self, examples: np.ndarray) -> np.ndarray:
        """Return the outputs for examples of the data by their numbers, int [N] -> [N, ...]."""
        found = [self.member_outputs(i, examples) for i in range(len(self.runs))]
        return with_temperature(combine(found, self.spec.task), self.temperature)

    def member_outputs(self, number: int, examples: np.ndarray) -> np.ndarray:
        """Return the outputs of one member for examples of the data, int [N] -> [N, ...]."""
        program, run = self._programs[number], self.runs[number]
        return program.outputs(run.placed_state, np.asarray(examples, np.int32))

    def split_of(self, number: int, split: str) -> np.ndarray:
        """Return the numbers of the examples that a member has in a split, int32 [N]."""
        return self._programs[number].parts.splits[split]

    @cached_property
    def _programs(self) -> list[Program]:
        programs = [run.program for run in self.runs]
        for run, program in zip(self.runs, programs, strict=True):
            if program.parts.source.fingerprint != programs[0].parts.source.fingerprint:
                raise DataError(
                    f"{run.path} and {self.runs[0].path} were trained on different data, so that their examples "
                    "cannot be told to be the same; evaluate other data: data.path=FILE"
                )
        return programs

    def _shares(self, split: str) -> bool:
        """Tell whether all members have the same examples in a split."""
        first = self.split_of(0, split)
        return all(np.array_equal(first, self.split_of(i, split)) for i in range(1, len(self.runs)))

    @property
    def _first(self) -> Bundle:
        return self.runs[0].bundle

    def _mean_outputs(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return the combined outputs, from the inputs of each member, without the temperature."""
        found = []
        for run, mine in zip(self.runs, inputs, strict=True):
            bundle = run.bundle
            found.append(bundle.outputs(bundle.encode(mine), batch_size=bundle.prediction_batch))
        return combine(found, self.spec.task)

    def _predictions(self, inputs: Sequence[Any]) -> Predictions:
        plain = self._mean_outputs(inputs)
        found = self._decide(plain)
        if self.temperature != 1.0:  # classes are those of the mean, also where two round to the same
            kept = self.spec.task.decision
            found = {**self._decide(with_temperature(plain, self.temperature)), kept: found[kept]}
        return Predictions({name: np.asarray(value) for name, value in found.items()}, self.spec)

    @cached_property
    def _decide(self) -> Any:
        return jax.jit(partial(self.spec.task.decide, spec=self.spec))


def open_saved(path: str | Path, amend: Amend, *, warn: Warn) -> Ensemble:
    """Open the folder of an ensemble, and its members with their checkpoints.

    Args:
        path: the folder.
        amend: makes the checked config of each member.
        warn: is told what could not be checked.

    Raises:
        CheckpointError: `ensemble.json`, a run or its checkpoint is missing, damaged, or not that of before.
    """
    folder = RunFolder(Path(path).expanduser())
    saved = read_ensemble(folder.path)
    folders = [member.find(folder.path) for member in saved.members]
    runs = open_members(folders, amend, checkpoints=[member.step for member in saved.members], warn=warn)
    for member, run in zip(saved.members, runs, strict=True):
        member.check(run)
    return Ensemble(folder, runs, temperature=saved.temperature)
