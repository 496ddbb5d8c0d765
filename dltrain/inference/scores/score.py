"""Evaluation of a split with everything that can be said about it; see `Scores`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.build.program import Program
from dltrain.engine.evaluate import Evaluator
from dltrain.engine.state import TrainState
from dltrain.inference.scores.bootstrap import RESAMPLES, Resampling, estimates
from dltrain.inference.scores.classes import (
    calibrate_classes,
    class_parts,
    class_statistic,
    counting_metric,
    further_metrics,
    rank_classes,
)
from dltrain.inference.scores.collect import Collected, collect
from dltrain.inference.scores.examples import (
    Confused,
    confidence_of,
    confused_pairs,
    pairs_of_matrix,
    worst_examples,
)
from dltrain.inference.scores.flip import check_flip, flipped
from dltrain.inference.scores.numbers import number_parts, number_statistic, target_names
from dltrain.inference.scores.overall import overall
from dltrain.inference.scores.ranking import Ranking
from dltrain.inference.scores.scores import Metrics, Part, Residuals, Scores
from dltrain.metrics import Confusion
from dltrain.tasks import Level
from dltrain.types import Kind, Spec

COUNTS, CONFUSION = "(counts)", "(confusion)"  # metrics that are computed for tables, and not reported
PARTS, STEPS = "(parts)", "(steps)"  # statistics for tables
PAIRED = 60  # classes of pixels, the pairs of which are counted


def score_split(
    program: Program,
    state: TrainState,
    split: str,
    *,
    tta: str = "none",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Evaluate a split of a program in some state.

    Args:
        program: with the data.
        state: with the weights.
        split: train, validation or test.
        tta: flip: also with the mean over images and their mirror images.
        resamples: for the intervals; 0: there are none.
        seed: of the resamples.

    Raises:
        ConfigError: the model cannot be evaluated with `tta`.
    """
    if tta != "none":
        check_flip(program)
    examples = program.examples(split)
    overlap = bool(getattr(program.parts.source, "overlapping", False))
    drawn = Resampling(resamples, seed, overlap=overlap).for_size(len(examples))
    scorer = _Scorer(program, state, examples, drawn)
    scores = scorer.whole(program.evaluator)
    if tta == "none":
        return scores
    found = scorer.collected(program.make_evaluator(flipped(program)))
    own, further = scorer.overall(found, scorer.ranking(found))
    return replace(scores, flipped=own | further)


@dataclass(frozen=True)
class _Scorer:
    """Scores of some examples, by different evaluators."""

    program: Program
    state: TrainState
    examples: np.ndarray
    drawn: Resampling

    @property
    def spec(self) -> Spec:
        return self.program.parts.spec

    @property
    def own(self) -> dict[str, Any]:
        """The metrics of the run."""
        return self.program.parts.metrics

    @property
    def further(self) -> dict[str, Any]:
        """Metrics that suit the task, which the run has not."""
        of_numbers = self.spec.task.target_kind is Kind.NUMBERS and len(self.spec.targets) == 1
        found = further_metrics(self.spec) if self.classes or of_numbers else {}
        return {name: metric for name, metric in found.items() if name not in self.own}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes or labels, of which each has its scores."""
        task = self.spec.task
        if task.target_kind is Kind.LABELS:
            return self.spec.labels
        if task.target_kind is not Kind.CATEGORY:
            return ()
        try:
            return self.spec.classes if task.classes(self.spec) == len(self.spec.classes) else ()
        except ValueError:  # a task of the user's own whose outputs are not those of classes
            return ()

    def collected(self, evaluator: Evaluator) -> Collected:
        """Evaluate the examples, with what the tables need."""
        tables: dict[str, Any] = {COUNTS: counting_metric(self.spec)} if self.classes else {}
        if self.spec.task.level is Level.PIXEL and 0 < len(self.classes) <= PAIRED:
            tables[CONFUSION] = Confusion(spec=self.spec)
        every = {**self.own, **self.further, **tables}
        params, own = self.program.eval_params(self.state), frozenset(self.own)
        return collect(self.program, evaluator, params, self.examples, every, own=own)

    def ranking(self, found: Collected) -> Ranking | None:
        """Return the curves of each class."""
        if not self.classes or found.outputs is None or found.targets is None:
            return None
        return rank_classes(found.outputs, found.targets, self.spec, self.drawn)

    def overall(self, found: Collected, ranking: Ranking | None) -> tuple[Metrics, Metrics]:
        """Return the metrics of the run, and further ones."""
        return overall(found, self.own, self.further, ranking, self.drawn, of_classes=bool(self.spec.classes))

    def whole(self, evaluator: Evaluator) -> Scores:
        """Return everything."""
        found = self.collected(evaluator)
        ranking = self.ranking(found)
        own, further = self.overall(found, ranking)
        scores = Scores(found.evaluation, self.drawn, own, further, worst=self.worst(found))
        if self.classes:
            return self._with_classes(scores, found, ranking)
        value = (found.decided or {}).get("value")
        if value is not None and found.targets is not None and value.size == found.targets.size:
            return self._with_numbers(scores, found)
        return scores

    def worst(self, found: Collected) -> list[Any]:
        """Return the examples with the largest losses."""
        source, decision = self.program.parts.source, self.spec.task.decision
        decided = found.decided or {}
        where: Any = getattr(source, "where", lambda index: "")
        confidence, predicted = confidence_of(decided, decision) if decided else None, decided.get(decision)
        return worst_examples(found.evaluation, where, self.spec, found.targets, predicted, confidence)

    def _with_classes(self, scores: Scores, found: Collected, ranking: Ranking | None) -> Scores:
        names, parts, calibration = self.classes, [], None
        unit = "pixels" if self.spec.task.level is Level.PIXEL else "examples"
        if COUNTS in found.columns:
            columns, pixels = found.columns[COUNTS], self.spec.task.level is Level.PIXEL
            each = estimates({PARTS: class_statistic(columns, len(names), pixels=pixels)}, self.drawn, {})
            parts = class_parts(names, columns, each[PARTS], ranking, self.drawn, unit=unit)
        if found.decided is not None and found.targets is not None:
            calibration = calibrate_classes(found.decided, found.targets, self.spec)
        curves = {} if ranking is None else dict(zip(names, ranking.curves, strict=True))
        if len(names) == 2 and self.spec.classes:
            curves = {name: curve for name, curve in curves.items() if name == names[1]}
        kind = "label" if self.spec.labels else "class"
        about = {"parts": parts, "calibration": calibration, "curves": curves}
        return replace(scores, kind=kind, confused=self._confused(found), **about)

    def _confused(self, found: Collected) -> list[Confused]:
        decided = (found.decided or {}).get(self.spec.task.decision)
        if self.spec.classes and decided is not None and found.targets is not None:
            about = (found.evaluation.losses, found.evaluation.examples, self.spec.classes)
            return confused_pairs(found.targets, decided, *about)
        if CONFUSION in found.columns:
            count = len(self.spec.classes)
            matrix = found.columns[CONFUSION].sum(0)[: count * count].reshape(count, count)
            return pairs_of_matrix(matrix.astype(np.int64), self.spec.classes)
        return []

    def _with_numbers(self, scores: Scores, found: Collected) -> Scores:
        truth, predicted = found.targets, np.asarray((found.decided or {})["value"])
        assert truth is not None
        predicted = predicted.reshape(truth.shape)
        names, statistics = target_names(self.spec), {PARTS: number_statistic(truth, predicted)}
        if truth.ndim == 3:  # of each step of a forecast
            statistics[STEPS] = number_statistic(truth.swapaxes(1, 2), predicted.swapaxes(1, 2))
        each = estimates(statistics, self.drawn, {})
        parts = number_parts(names, len(truth), each[PARTS])
        steps: list[Part] = []
        if STEPS in each:
            # Not R²: columns of different means would count as explained.
            errors = {name: of for name, of in each[STEPS].items() if not name.startswith("r2/")}
            steps = number_parts([str(k + 1) for k in range(truth.shape[1])], len(truth), errors)
        flat = (values.reshape(-1, truth.shape[-1]).astype(np.float64) for values in (truth, predicted))
        real, guess = flat
        residuals = Residuals(names, guess, real - guess)
        kind = "column" if truth.ndim == 3 else "target"
        return replace(scores, kind=kind, parts=parts, steps=steps, residuals=residuals)
