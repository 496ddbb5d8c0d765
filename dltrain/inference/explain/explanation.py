"""Everything that is found out about what a model goes by, chosen by the kinds of its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from dltrain.data.progress import progress
from dltrain.errors import ConfigError
from dltrain.inference.abilities import attends
from dltrain.inference.bundle import Bundle
from dltrain.inference.explain.columns import Column, columns_of, is_table, shown_values, summed
from dltrain.inference.explain.dependence import Dependence, grid_size, partial_dependence
from dltrain.inference.explain.examples import Examples, given, of_file, of_split
from dltrain.inference.explain.filters import Filters, first_filters
from dltrain.inference.explain.function import TEXTS
from dltrain.inference.explain.gradients import Attributions, attribute
from dltrain.inference.explain.occlusion import Occlusion, cuts, occlusion, sequences_of
from dltrain.inference.explain.permutation import Importance, permutation_importance
from dltrain.inference.explain.tokens import TextAttribution, attribution_of, pieces_of
from dltrain.inference.predictions import Predictions
from dltrain.inference.run import Run
from dltrain.ranges import Range, Seed, Size
from dltrain.types import Kind, Spec, by_name

WINDOWS = 256  # examples of series that are occluded
CURVES = 500  # rows of which partial dependence is the mean
FEW = 512  # examples of images, texts and sequences that are read, of which some are explained
FEWEST_ROWS = 2


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model goes by.

    Attributes:
        spec: the features of the data.
        examples: the explained examples.
        predictions: what the model predicts for them.
        attributions: of their inputs.
        columns: the columns of a table, with the sum of their attributions, float [N] each; empty without a table.
        values: for each example the values of these columns as text.
        texts: input -> the attributions of each example's tokens.
        importance: of the columns of a table; None without targets.
        dependence: of the most important columns of a table.
        occlusion: of the inputs that are series.
        filters: of the first layer, for images.
        attention: weights of the steps, float32 [N, L], of a model that has them.
        tolerance: the relative error of completeness that was aimed at.
        steps: the largest number of points of the path.
    """

    spec: Spec
    examples: Examples
    predictions: Predictions
    attributions: Attributions
    columns: Mapping[str, np.ndarray]
    values: tuple[Mapping[str, str], ...]
    texts: Mapping[str, tuple[TextAttribution, ...]]
    importance: Importance | None
    dependence: tuple[Dependence, ...]
    occlusion: tuple[Occlusion, ...]
    filters: Filters | None
    attention: np.ndarray | None
    tolerance: float
    steps: int

    @property
    def incomplete(self) -> int:
        """Number of examples whose attributions do not sum to the difference in output."""
        found = self.attributions.completeness
        return 0 if found is None else int((~(found.error <= self.tolerance)).sum())


def explain(
    run: Run,
    inputs: Any = None,
    targets: Any = None,
    *,
    split: str | None = None,
    examples: Size = 8,
    target: str | None = None,
    repeats: Size = 10,
    columns: Annotated[int, Range(low=0)] = 6,
    rows: Size = 2000,
    tolerance: Annotated[float, Range(above=0)] = 0.01,
    steps: Size = 256,
    seed: Seed = 0,
) -> Explanation:
    """Find out which inputs the model of a run goes by.

    Args:
        run: the run.
        inputs: examples as `Bundle.predict` takes them, or the path of a file of them; None: those of a split.
        targets: their targets, for the importance of columns.
        split: train, validation or test; None: test, else validation, else train.
        examples: how many are explained one by one; of classes, half of them wrongly predicted ones.
        target: the class, label or target to explain; None: the predicted class or label, or the first target.
        repeats: how often each column is permuted.
        columns: of how many columns partial dependence is computed.
        rows: most rows that importance and dependence are computed on.
        tolerance: relative error of completeness to aim at.
        steps: most points of the path of integrated gradients.
        seed: of permutations, and of the choice of rows.

    Raises:
        ConfigError: the model generates, or has no targets.
        DataError: the data cannot be read.
    """
    bundle = run.bundle
    check_explains(bundle)
    pool = _pool(run, inputs, targets, split, rows=rows, seed=seed)
    chosen = pool.take(_choose(bundle, pool, examples))
    with progress("computing attributions", len(chosen), unit="examples") as advance:
        found = attribute(bundle, chosen, target=target, tolerance=tolerance, steps=steps, advance=advance)
    table = columns_of(bundle) if is_table(bundle.raw_spec) else ()
    importance, dependence = None, ()
    if table:
        importance = _importance(run, pool, table, repeats=repeats, seed=seed)
        dependence = _dependence(bundle, pool, _most_important(table, importance, found)[:columns])
    attention = bundle.attention(chosen.inputs) if attends(bundle.module) else None
    attention = attention if attention is not None and attention.ndim == 2 else None
    return Explanation(
        spec=bundle.raw_spec,
        examples=chosen,
        predictions=bundle.predict(chosen.inputs),
        attributions=found,
        columns=summed(found.values, table) if table else {},
        values=tuple(shown_values(bundle, chosen.inputs, table)),
        texts=_texts(bundle, chosen, found, attention),
        importance=importance,
        dependence=dependence,
        occlusion=_occlusion(bundle, pool),
        filters=first_filters(bundle),
        attention=attention,
        tolerance=tolerance,
        steps=steps,
    )


def check_explains(bundle: Bundle) -> None:
    """Raise ConfigError for a model that predicts nothing of an example that could be explained."""
    bundle.check_predicts("explain")
    spec = bundle.spec
    if not spec.task.supervised or len(spec.targets) != 1:
        raise ConfigError(
            f"explain: a model of task={spec.task} has no target whose prediction could be explained; explain "
            "takes models that predict classes, labels, numbers, forecasts or masks"
        )


def _pool(run: Run, inputs: Any, targets: Any, split: str | None, *, rows: int, seed: int) -> Examples:
    """Return the examples that importance and dependence are computed on."""
    if inputs is None:
        most = rows if is_table(run.bundle.raw_spec) else min(rows, FEW)
        return of_split(run, split, most=most, seed=seed)
    if split is not None:
        raise ConfigError(f"explain: give either split={split}, or inputs")
    if isinstance(inputs, str | Path):
        found = of_file(run, Path(inputs).expanduser())
    else:
        found = given(run.bundle, inputs, targets)
    if len(found) > rows:
        return found.take(np.sort(np.random.default_rng(seed).permutation(len(found))[:rows]))
    return found


def _choose(bundle: Bundle, pool: Examples, count: int) -> np.ndarray:
    """Choose examples: of classes up to half wrong ones, most confident first, then the first right ones."""
    spec = bundle.raw_spec
    if pool.targets is None or not spec.has_labels or len(pool) <= count:
        return np.arange(min(count, len(pool)))
    some = np.arange(min(len(pool), FEW))
    decided = bundle.decisions(pool.take(some).inputs)
    predicted = np.asarray(decided["class"])
    sure = np.asarray(spec.task.probabilities(decided))[some, predicted]
    wrong = np.flatnonzero(predicted != np.asarray(pool.targets)[some])
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][: count // 2]
    return np.concatenate([worst, _of_all_classes(np.setdiff1d(some, wrong), predicted)[: count - len(worst)]])


def _of_all_classes(places: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Order examples so that the first ones are of different classes."""
    seen: dict[int, int] = {}
    turns = []
    for place in places:
        turns.append(seen.get(int(classes[place]), 0))
        seen[int(classes[place])] = turns[-1] + 1
    return places[np.argsort(turns, kind="stable")]


def _importance(
    run: Run, pool: Examples, table: tuple[Column, ...], *, repeats: int, seed: int
) -> Importance | None:
    """Permute the columns; None without targets, or where there is but one row."""
    if pool.targets is None or len(pool) < FEWEST_ROWS:
        return None
    bundle = run.bundle
    higher = {"loss": False, **monitored(run.config, bundle)}

    def score(inputs: Any) -> Mapping[str, float]:
        return bundle.evaluate(inputs, pool.targets, **pool.for_loss)

    with progress("permuting columns", len(table) * repeats, unit="evaluations") as advance:
        about = {"spec": bundle.array_spec, "higher": higher, "split": pool.what, "advance": advance}
        return permutation_importance(score, pool.inputs, table, repeats=repeats, seed=seed, **about)


def monitored(config: Mapping[str, Any], bundle: Bundle) -> dict[str, bool]:
    """Return the monitored metric, by default that of the task, if it is not the loss: name -> higher is better."""
    wanted = config["monitor"]
    names = [wanted.partition("/")[2]] if wanted not in (None, "auto") else config["task"]["monitor"] or []
    for name in names:
        better = (config["metrics"].get(name) or {}).get("better")
        if name in bundle.metrics and better:
            return {name: better == "higher"}
    return {}


def _most_important(table: tuple[Column, ...], importance: Importance | None, found: Attributions) -> list[Column]:
    """Order the columns by importance, or by their mean absolute attributions where that is not known."""
    if importance is not None:
        return [table[i] for i in importance.order()]
    strength = {name: float(np.abs(values).mean()) for name, values in summed(found.values, table).items()}
    return sorted(table, key=lambda column: -strength[column.name])


def _dependence(bundle: Bundle, pool: Examples, chosen: list[Column]) -> tuple[Dependence, ...]:
    inputs = pool.take(np.arange(min(CURVES, len(pool)))).inputs
    total = sum(grid_size(bundle, inputs, column) for column in chosen)
    if not total:
        return ()
    with progress("computing partial dependence", total, unit="values") as advance:
        return tuple(one for c in chosen for one in partial_dependence(bundle, inputs, c, advance=advance))


def _occlusion(bundle: Bundle, pool: Examples) -> tuple[Occlusion, ...]:
    names = sequences_of(bundle.array_spec)
    if not names:
        return ()
    inputs = pool.take(np.unique(np.linspace(0, len(pool) - 1, min(WINDOWS, len(pool))).astype(int))).inputs
    shapes = [bundle.array_spec.inputs[name].shape for name in names]
    total = sum(len(cuts(length)) * width for length, width in shapes)
    with progress("occluding stretches", total, unit="predictions") as advance:
        return tuple(occlusion(bundle, inputs, name, advance=advance) for name in names)


def _texts(
    bundle: Bundle, chosen: Examples, found: Attributions, attention: np.ndarray | None
) -> dict[str, tuple[TextAttribution, ...]]:
    spec = bundle.array_spec
    named = by_name(chosen.inputs, spec.inputs)
    length, known = spec.find(Kind.LENGTH), {}
    for name, feature in spec.contents.items():
        if feature.kind not in TEXTS:
            continue
        each = []
        for i in range(len(chosen)):
            about = {"length": int(named[length][i]) if length and feature.kind is Kind.TOKENS else None}
            about["text"] = chosen.texts[name][i] if name in chosen.texts else None
            pieces = pieces_of(named[name][i], feature, **about, fitted=_fitted(bundle, name))
            weights = attention[i] if attention is not None else None
            each.append(attribution_of(name, found.values[name][i], pieces, weights))
        known[name] = tuple(each)
    return known


def _fitted(bundle: Bundle, name: str) -> Any:
    """Return how the texts of an input were cut, if that was fitted."""
    encoder = bundle.encoder
    if hasattr(encoder, "fitted"):
        return encoder.fitted
    texts = getattr(encoder, "texts", {})
    return next((fitted for column, fitted in texts.items() if encoder.input_of(column) == name), None)
