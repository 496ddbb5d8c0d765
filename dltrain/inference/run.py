"""Python interface to a run folder: its config, recorded metrics and trained model."""

import html
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from dltrain.build.parts import Parts
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.build.provenance import check_run
from dltrain.config.call import Composed
from dltrain.config.changes import check_evaluated, names_other_data, read_saved
from dltrain.data.records.open import open_records
from dltrain.data.split import NAMES
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import from_named
from dltrain.errors import ConfigError, DltrainError
from dltrain.inference.bundle import Bundle
from dltrain.inference.card import run_card
from dltrain.inference.open import open_bundle
from dltrain.inference.predict import OnBad, Predicted, no_predictions, predict_records
from dltrain.inference.predictions import Predictions
from dltrain.inference.record import read_record
from dltrain.inference.run_data import read_other_data, read_run_data
from dltrain.inference.scores import Scores, score_split
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.history import as_columns, read_metrics
from dltrain.runs.restore import Warn, load_checkpoint
from dltrain.types import Spec

OTHER = "other"
"""The split of other data than the run's own: all of its examples."""

INSTEAD = "in Python, dltrain.open_run(RUN).evaluate(inputs=..., targets=...) takes any examples"


def amend_saved(
    folder: RunFolder, amend: Callable[[Mapping[str, Any]], Composed], words: Collection[str]
) -> Composed:
    """Lay typed overrides over the config of a run, to use its model.

    Raises:
        ConfigError: the config cannot be used, or an override changes what the weights were trained for.
    """
    saved = read_saved(folder.config)
    composed = amend(saved)
    check_evaluated(saved, composed.text, words)
    return composed


class Run:
    """A run and its model: what `dltrain.fit` and `dltrain.open_run` return.

    Everything is read at its first use. Only `evaluate(split=...)` reads the training data.
    """

    def __init__(self, folder: RunFolder, composed: Composed, *, checkpoint: str | int, warn: Warn) -> None:
        """Open a run folder with its checked config; `checkpoint` is best, last, or a step."""
        self.folder, self._composed, self._checkpoint, self._warn = folder, composed, checkpoint, warn
        folder.trust = composed.trust

    def __repr__(self) -> str:
        """Name the folder."""
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Show the run in a notebook: results, data, model and curves; a message if a file is damaged."""
        try:
            return run_card(read_record(self.folder))
        except DltrainError as error:
            return f"<pre>{html.escape(f'{self!r}: {error}')}</pre>"

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def config(self) -> dict[str, Any]:
        """The config of the run, including changes made when it was opened."""
        return self._composed.config

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`; empty before the run has finished."""
        return self.folder.read_summary()

    @property
    def metrics(self) -> dict[str, dict[str, np.ndarray]]:
        """Metrics recorded during training: split -> name -> array, NaN where a value was not recorded.

        Raises:
            CheckpointError: metrics.jsonl is damaged.
        """
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in read_metrics(self.folder.metrics, extent=self.summary.get("metrics_file")):
            rows.setdefault(row.pop("split"), []).append(row)
        return {split: as_columns(found) for split, found in rows.items()}

    @cached_property
    def _saved(self) -> Checkpoint:
        found = load_checkpoint(self.folder, self._checkpoint, warn=self._warn)
        check_run(self.folder, read_saved(self.folder.config), found, self._composed.trust, warn=self._warn)
        return found

    @property
    def step(self) -> int:
        """The step of the checkpoint."""
        return self._saved.step

    @property
    def about(self) -> str:
        """What predicts, in words."""
        return f"checkpoint of step {self.step}"

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Every array of the checkpoint by its name, such as `params.head.kernel`."""
        return dict(self._saved.leaves)

    @cached_property
    def bundle(self) -> Bundle:
        """The model with everything needed to use it."""
        return open_bundle(self.folder, self._composed, self._saved)

    @property
    def module(self) -> nnx.Module:
        """The flax module with the weights to evaluate; it takes preprocessed inputs."""
        return self.bundle.model

    @property
    def spec(self) -> Spec:
        """The features of the data, by name."""
        return self.bundle.raw_spec

    def outputs(self, inputs: Any) -> Any:
        """Return the model's outputs for raw inputs; see `Bundle.outputs`."""
        return self.bundle.outputs(inputs)

    def predict(self, inputs: Any) -> Predictions:
        """Return what the model predicts for examples as people have them; see `Bundle.predict`."""
        return self.bundle.predict(inputs)

    def predict_file(
        self,
        path: str | Path,
        output: str,
        *,
        on_bad: OnBad = OnBad.EMPTY,
        keep: Sequence[str] = (),
        overwrite: bool = False,
    ) -> Predicted:
        """Predict for the examples of a file or folder, and write the predictions; see `dltrain predict`.

        Args:
            path: new examples in the format of the training data, or `.npz` or `.npy` with arrays.
            output: a path that ends in .csv, .jsonl, .parquet or .npz; `-` for CSV on standard output.
            on_bad: empty: an example that cannot be read has an empty prediction; error: it ends the call.
            keep: columns of a table that are repeated next to the predictions.
            overwrite: whether an output that exists is replaced.

        Raises:
            DataError: the file cannot be read, or has no good example.
            DiskError: the output cannot be written.
        """
        self.bundle.check_predicts()
        path, keys = Path(path).expanduser().absolute(), self.config["data"]
        records = open_records(path, self.bundle.encoder, self.spec, keys=keys, keep=keep)
        predict, empty = self.bundle.predict, partial(no_predictions, self.bundle)
        return predict_records(predict, records, output, empty=empty, on_bad=OnBad(on_bad), overwrite=overwrite)

    def export(self, output: str | Path, *, examples: str | None = None, **options: Any) -> Any:
        """Export the model into a folder, checked on examples of its data; see `dltrain export`.

        Args:
            output: the folder to write.
            examples: an `.npz` file with inputs to check with, instead of the data of the run.
            **options: `format`, `python`, `keep_examples` and `overwrite`.
        """
        from dltrain.inference.export.make import Options, export_run  # which imports this module

        return export_run(self, self._composed, output, examples=examples, options=Options(**options))

    def explain(self, inputs: Any = None, targets: Any = None, **options: Any) -> Any:
        """Find out which inputs the model goes by; returns an `Explanation`, whose attributes are arrays.

        Args:
            inputs: examples as `predict` takes them, or the path of a file of them; None: those of a split.
            targets: their targets, for the importance of the columns of a table.
            **options: `split`, `examples`, `target`, `repeats`, `columns`, `rows`, `tolerance`, `steps` and `seed`;
                see `dltrain.inference.explain.explanation.explain`.
        """
        from dltrain.inference.explain.explanation import explain  # which imports this module

        return explain(self, inputs, targets, **options)

    def evaluate(
        self, split: str | None = None, *, inputs: Any = None, targets: Any = None, **for_loss: Any
    ) -> dict[str, Any]:
        """Return the loss and each metric of a split of the run's data, or of given examples.

        Args:
            split: train, validation or test; its examples are read again.
            inputs: raw examples, instead of a split.
            targets: their targets.
            **for_loss: `weights` or `loss_mask`, if the training data has them.

        Raises:
            DataError: the data of the run cannot be read, or has changed; or the examples do not fit the model.
        """
        if (split is None) == (inputs is None):
            raise ConfigError("evaluate: give either a split, or inputs and targets")
        if split is None:
            return self.bundle.evaluate(inputs, targets, **for_loss)
        found = self.evaluation(split)
        return {**found.scalars, **found.arrays}

    def splits(self) -> list[str]:
        """Return the names of the splits that have examples, `["other"]` of other data; reads the data."""
        parts = self.program.parts
        return [OTHER] if self.other_data else [name for name in NAMES if len(parts.splits[name])]

    def evaluation(self, split: str) -> Evaluation:
        """Evaluate a split of the run's data, with the loss of each example."""
        return self.program.evaluate(self.placed_state, self.checked_split(split))

    def checked_split(self, split: str) -> str:
        """Return the split of the program that has these examples; ConfigError if there are none.

        Of other data, `other` has all examples.
        """
        if self.other_data:
            if split != OTHER:
                raise ConfigError(f"split={split}: all of {self.other_data} is evaluated, which is not divided")
            return "test"
        if split not in NAMES or not len(self.program.parts.splits[split]):
            raise ConfigError(f"split={split}: this run has no {split} examples")
        return split

    def scores(self, split: str = "test", *, tta: str = "none", **options: Any) -> Scores:
        """Return every metric of a split, overall and per class or target, with bootstrap intervals.

        Args:
            split: train, validation or test; of other data, which `data.path` names, `other`.
            tta: test-time augmentation; with `flip`, the metrics of the mean over each image and its mirror image
                are returned, too.
            **options: `resamples`, their number, and `seed`.
        """
        return score_split(self.program, self.placed_state, self.checked_split(split), tta=tta, **options)

    @property
    def other_data(self) -> str:
        """What is evaluated instead of the run's own data, by name; "" if it is the run's own."""
        return self._program[2]

    @property
    def program(self) -> Program:
        """The compiled program with the data, which is read; for evaluation."""
        return self._program[0]

    @property
    def placed_state(self) -> Any:
        """The state of the checkpoint, on the devices of the program."""
        return self._program[1]

    def data(self, *, reason: str, instead: str) -> Parts:
        """Read the data of the run again; see `read_run_data`."""
        about = {"reason": reason, "instead": instead, "warn": self._warn}
        return read_run_data(self.folder, self._composed, self._saved, **about)

    @cached_property
    def _program(self) -> tuple[Program, Any, str]:
        other = None
        if names_other_data(read_saved(self.folder.config), self._composed.text):
            other = read_other_data(self.folder, self._composed, warn=self._warn)
        parts = other or self.data(reason="evaluate", instead=INSTEAD)
        name = Path(str(self.config["data"]["path"] or self.config["data"]["root"])).name if other else ""
        program = Program(parts, make_plan(self.config, parts))
        what = f"checkpoint of step {self.step}"
        return program, program.place(from_named(program.shapes, self._saved.leaves, what=what)), name

    def generate(self, inputs: Any = None, **options: Any) -> list[str]:
        """Generate texts from a prompt or from inputs; see `Bundle.generate`."""
        return self.bundle.generate(inputs, **options)

    def sample(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Generate examples from noise, [count, ...], in the units of the data."""
        return self.bundle.sample(count, seed=seed)

    def attention(self, inputs: Any) -> np.ndarray:
        """Return attention weights; see `Bundle.attention`."""
        return self.bundle.attention(inputs)
