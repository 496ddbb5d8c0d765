"""Examples of the test set with prediction and truth, errors in red."""

from collections.abc import Sequence
from textwrap import fill, wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.kinds import Kind
from dltrain.plots.chosen import choose, worst_of
from dltrain.plots.labels import label_of, labels
from dltrain.plots.sheet import series_sheet, sheet

WRONG = "#d62728"
_RIGHT = "0.6"
_MANY = 64  # a grid of more examples cannot be read


def samples(
    inputs: np.ndarray,
    kind: Kind,
    truth: np.ndarray,
    prediction: np.ndarray,
    losses: np.ndarray,
    classes: Sequence[str] = (),
    *,
    names: Sequence[str] = (),
    confidence: np.ndarray | None = None,
    worst: int = 0,
) -> Figure:
    """Draw these examples in this order: images and sequences in a grid, others by losses or values.

    Of more than 64 images or sequences, those selected by `choose` are drawn.

    Args:
      inputs: [N, H, W, C], [N, H, W] or [N, L, F], any range; those of tables and texts are not used.
      kind: of an example.
      truth: classes int [N]; values float [N] or [N, T] without classes.
      prediction: as `truth`.
      losses: float [N].
      classes: class names; empty for regression.
      names: names of the T targets of a regression.
      confidence: probability of the predicted class, float [N].
      worst: how many of the first examples were chosen for their loss.
    """
    inputs, truth, prediction = np.asarray(inputs), np.asarray(truth), np.asarray(prediction)
    losses = np.asarray(losses, dtype=np.float64)
    if not len(truth) == len(prediction) == len(losses):
        raise ValueError(
            f"{len(truth)} targets, {len(prediction)} predictions, {len(losses)} losses: the lengths must be equal"
        )
    if kind != Kind.IMAGE and not classes:
        return scatter(truth, prediction, names)
    if kind in (Kind.NUMBERS, Kind.CATEGORIES, Kind.TOKENS, Kind.NGRAMS):
        return _losses(truth, prediction, losses, classes)
    if len(truth) > _MANY:
        chosen = choose(truth, prediction, losses)
        worst = worst_of(truth, prediction)
        inputs, truth, prediction, losses = inputs[chosen], truth[chosen], prediction[chosen], losses[chosen]
        confidence = None if confidence is None else confidence[chosen]
    if classes:
        short = labels(classes)
        wrong = truth != prediction
        predicted, true = ([label_of(int(k), short) for k in values] for values in (prediction, truth))
    else:
        wrong = losses >= np.quantile(losses, 0.75) if losses.size else np.zeros(0, bool)
        predicted, true = ([_values(targets) for targets in values] for values in (prediction, truth))
    shown = predicted if confidence is None else _with_confidence(predicted, confidence)
    titles = [s if p == t else f"{s}\ntrue: {t}" for s, p, t in zip(shown, predicted, true, strict=True)]
    what = "wrong" if classes else "the largest errors"
    with_what = "" if confidence is None else ", each with the probability of its class"
    return _grid(to_rgb(inputs) if kind == Kind.IMAGE else inputs, titles, wrong, what, with_what, worst=worst)


def _with_confidence(predicted: Sequence[str], confidence: np.ndarray) -> list[str]:
    """Add the probability of each predicted class, on a line of its own below long names."""
    space = " " if max(map(len, predicted), default=0) <= 8 else "\n"
    return [f"{name}{space}{share:.0%}" for name, share in zip(predicted, confidence, strict=True)]


def captioned(inputs: np.ndarray, texts: Sequence[tuple[str, str]], worst: int = 0) -> Figure:
    """Draw images [N, H, W, C] in a grid, each with its generated and its true text; `worst` as in `samples`."""
    lines = [[fill(*labels([text or "(nothing)"], length=60), 14) for text in pair] for pair in texts]
    titles = [text if text == true else f"{text}\ntrue: {true}" for text, true in lines]
    return _grid(to_rgb(inputs), titles, np.array([text != true for text, true in texts]), "wrong", worst=worst)


def scatter(truth: np.ndarray, prediction: np.ndarray, names: str | Sequence[str] = ()) -> Figure:
    """Draw predicted against true values, [N] or [N, T], one panel per target (nine at most), worst five in red."""
    truth, prediction = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (truth, prediction))
    targets = min(9, truth.shape[1])
    names = [names] if isinstance(names, str) else list(names) or [f"target {k}" for k in range(targets)]
    titles = labels(names, length=30)
    columns = max(1, min(3, targets))
    rows = max(1, -(-targets // columns))
    figure = Figure(figsize=(4.2 * columns, 4.2 * rows + 0.3), layout="constrained")
    figure.suptitle("red: the largest errors", fontsize=9)
    for k, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        if k < targets:
            _target(axes, truth[:, k], prediction[:, k], titles[k])
        else:
            axes.set_axis_off()
    return figure


def _target(axes: Axes, truth: np.ndarray, prediction: np.ndarray, title: str) -> None:
    finite = np.isfinite(truth) & np.isfinite(prediction)
    lost = len(truth) - int(finite.sum())
    truth, prediction = truth[finite], prediction[finite]
    score = r2(truth, prediction)
    lines = [title + (f" ({lost:,} not finite)" if lost else "")]
    lines += [f"R² {score:.3f} of {truth.size:,} examples"] if np.isfinite(score) else []
    axes.set(title="\n".join(lines), xlabel="true", ylabel="predicted")
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    if not truth.size:
        return
    alpha = float(np.clip(500 / truth.size, 0.08, 0.7))
    axes.scatter(truth, prediction, s=14, alpha=alpha, color="tab:blue", edgecolors="none", zorder=2)
    low, high = min(truth.min(), prediction.min()), max(truth.max(), prediction.max())
    axes.plot([low, high], [low, high], color="black", lw=0.8, ls="--", zorder=3)
    worst = np.argsort(-np.abs(truth - prediction), kind="stable")[: min(5, truth.size // 4)]
    axes.scatter(
        truth[worst], prediction[worst], s=45, facecolors="none", edgecolors=WRONG, linewidths=1.3, zorder=4
    )


def r2(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return the coefficient of determination of values [N]; NaN for constant truth."""
    spread = np.square(truth - truth.mean()).sum() if truth.size else 0.0
    return float(1 - np.square(truth - prediction).sum() / spread) if spread > 0 else float("nan")


def _losses(truth: np.ndarray, prediction: np.ndarray, losses: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the loss of each example of a table or a text, by true class, errors in red."""
    short = labels(classes)
    figure = Figure(figsize=(7.5, float(np.clip(1.4 + 0.35 * len(classes), 2.6, 14))), layout="constrained")
    axes = figure.subplots()
    spread = np.random.default_rng(0).uniform(-0.28, 0.28, len(truth))  # show equal examples side by side
    shown = np.isfinite(losses)
    wrong = truth != prediction
    for rows, colour, label in ((shown & ~wrong, "tab:blue", "right"), (shown & wrong, WRONG, "wrong")):
        axes.scatter(
            losses[rows], truth[rows] + spread[rows], s=16, alpha=0.6, color=colour, edgecolors="none", label=label
        )
    positive = losses[shown & (losses > 0)]
    if positive.size and positive.max() > 100 * positive.min():
        axes.set_xscale("log")
    every = -(-len(short) // 40)
    axes.set_yticks(range(0, len(short), every), short[::every])
    axes.set_ylim(len(short) - 0.5, -0.5)
    axes.set(xlabel="loss", ylabel="true class", title=f"{int(wrong.sum()):,} of {len(truth):,} examples are wrong")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _grid(
    drawings: np.ndarray,
    titles: Sequence[str],
    wrong: np.ndarray,
    what: str,
    with_what: str = "",
    *,
    worst: int = 0,
) -> Figure:
    columns = max(1, min(8, len(titles)))
    colours = [WRONG if bad else "black" for bad in wrong]
    frames = [(WRONG, 3.0) if bad else (_RIGHT, 0.8) for bad in wrong]
    about: dict[str, Any] = {"columns": columns, "colours": colours, "frames": frames}
    figure = (sheet if drawings.ndim > 3 else series_sheet)(drawings, titles, **about)
    first = f"; the first {worst} have the largest loss" if worst else ""
    red = f"red: {what}{first}" if wrong.any() else "none of these is wrong"
    figure.suptitle("\n".join(wrap(f"predictions{with_what}; {red}", columns * 21)), fontsize=10)
    return figure


def to_rgb(inputs: np.ndarray) -> np.ndarray:
    """Scale images of any range together to RGB float [N, H, W, 3] in 0..1; other channel counts are averaged."""
    values = inputs.astype(np.float32)
    if values.ndim == 3:
        values = values[..., None]
    values = values[..., :3] if values.shape[-1] in (3, 4) else values.mean(axis=-1, keepdims=True)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    values = np.nan_to_num((values - low) / (high - low if high > low else 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return np.broadcast_to(values, (*values.shape[:-1], 3))


def _values(targets: np.ndarray) -> str:
    """Format the first three targets of an example."""
    return ", ".join(f"{value:.3g}" for value in np.ravel(targets)[:3])
