"""Single examples: those with the largest losses, and those whose classes are confused most often."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dltrain.engine.evaluate import Evaluation
from dltrain.types import Kind, Spec

WORST = 50  # examples that are listed
PAIRS = 50  # of classes
EACH = 10  # examples of a pair
FEW = 3  # numbers of an example that are written out

Where = Callable[[int], str]
"""Number of an example -> file and row, or ""."""


@dataclass(frozen=True)
class Worst:
    """An example with a large loss: its number in the data, where it is, and what was predicted, in words."""

    example: int
    where: str
    loss: float
    truth: str = ""
    predicted: str = ""
    confidence: float | None = None


@dataclass(frozen=True)
class Confused:
    """Two classes: the examples of `truth` that were taken for `predicted`."""

    truth: str
    predicted: str
    count: int
    share: float  # of the examples of the true class
    examples: tuple[int, ...] = ()


def worst_examples(
    found: Evaluation,
    where: Where,
    spec: Spec,
    truth: np.ndarray | None,
    predicted: np.ndarray | None,
    confidence: np.ndarray | None,
) -> list[Worst]:
    """Return the examples with the largest losses; NaN counts as the largest.

    Args:
        found: the evaluation.
        where: tells where an example is.
        spec: the features of the data.
        truth: targets [N, ...]; None if an example has many.
        predicted: decisions [N, ...].
        confidence: the probability of the predicted class, [N].
    """
    order = np.argsort(-np.nan_to_num(found.losses, nan=np.inf), kind="stable")[:WORST]
    words = str if truth is None and predicted is None else _words(spec)
    rows = []
    for i in order.tolist():
        index = int(found.examples[i])
        rows.append(
            Worst(
                index,
                where(index),
                float(found.losses[i]),
                "" if truth is None else words(truth[i]),
                "" if predicted is None else words(predicted[i]),
                None if confidence is None else float(confidence[i]),
            )
        )
    return rows


def confused_pairs(
    truth: np.ndarray, predicted: np.ndarray, losses: np.ndarray, examples: np.ndarray, classes: Sequence[str]
) -> list[Confused]:
    """Return pairs of classes by how often the first was taken for the second, with the worst examples of each.

    Args:
        truth: int [N].
        predicted: int [N].
        losses: float [N].
        examples: numbers of the examples, int [N].
        classes: K names.
    """
    wrong = np.flatnonzero(truth != predicted)
    wrong = wrong[np.argsort(-np.nan_to_num(losses[wrong], nan=np.inf), kind="stable")]
    pairs: dict[tuple[int, int], list[int]] = {}
    for i in wrong.tolist():
        pairs.setdefault((int(truth[i]), int(predicted[i])), []).append(int(examples[i]))
    there = np.bincount(truth, minlength=len(classes))
    most = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:PAIRS]
    return [
        Confused(classes[a], classes[b], len(of), len(of) / int(there[a]), tuple(of[:EACH])) for (a, b), of in most
    ]


def pairs_of_matrix(matrix: np.ndarray, classes: Sequence[str]) -> list[Confused]:
    """Return the same of a confusion matrix, int [K, K], such as of pixels, without examples."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    rows, columns = np.unravel_index(order, matrix.shape)
    totals = matrix.sum(1)
    return [
        Confused(classes[a], classes[b], int(wrong[a, b]), float(wrong[a, b] / totals[a]))
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[a, b]
    ]


def confidence_of(decided: Mapping[str, np.ndarray], decision: str) -> np.ndarray | None:
    """Return the probability of each predicted class, float [N], if the task tells probabilities."""
    if decision not in decided:
        return None
    if "probabilities" in decided and decided[decision].ndim == 1:
        return decided["probabilities"].max(-1)
    if "probability" in decided:  # of the second of two classes
        return np.where(decided[decision] == 1, decided["probability"], 1 - decided["probability"])
    return None


def _words(spec: Spec) -> Callable[[np.ndarray], str]:
    """Return what writes a target as a text."""
    kind = spec.target.kind
    if kind is Kind.CATEGORY:
        return lambda number: spec.classes[int(number)] if 0 <= number < len(spec.classes) else str(number)
    if kind is Kind.LABELS:
        return lambda flags: " ".join(n for n, flag in zip(spec.labels, flags, strict=True) if flag) or "(none)"

    def numbers(values: np.ndarray) -> str:
        flat = np.ravel(values)
        return " ".join(f"{value:.6g}" for value in flat[:FEW]) + " ..." * (len(flat) > FEW)

    return numbers
