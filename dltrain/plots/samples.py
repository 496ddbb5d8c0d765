"""Rows of the test set with prediction and truth, the worst errors marked in red."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import label_of, labels
from dltrain.types import Kind

WRONG = "#d62728"
_RIGHT = "0.6"
_MANY = 64  # drawings beyond which a grid cannot be read


def choose(truth: np.ndarray, prediction: np.ndarray, losses: np.ndarray, count: int = 32) -> np.ndarray:
    """Choose rows worth drawing, int [count]: the worst errors first, up to half of them, then the first others.

    Args:
      truth: classes int [N], or numbers float [N] or [N, T], for which every row counts as an error.
      prediction: as `truth`.
      losses: float [N]; a row whose loss is not a number is worse than any.
      count: how many rows; all of them where there are fewer.
    """
    wrong = np.arange(len(truth))
    if np.issubdtype(np.asarray(truth).dtype, np.integer):
        wrong = np.flatnonzero(np.asarray(truth) != np.asarray(prediction))
    order = np.argsort(-np.nan_to_num(np.asarray(losses, dtype=np.float64), nan=np.inf)[wrong], kind="stable")
    worst = wrong[order][: count // 2]
    others = np.setdiff1d(np.arange(len(truth)), worst)
    return np.concatenate([worst, others[: count - len(worst)]])


def samples(
    inputs: np.ndarray,
    kind: Kind,
    truth: np.ndarray,
    prediction: np.ndarray,
    losses: np.ndarray,
    classes: Sequence[str] = (),
    *,
    names: Sequence[str] = (),
) -> Figure:
    """Draw these rows in this order: pictures and sequences in a grid, tables by their losses or values.

    Of more than 64 pictures or sequences, those that `choose` takes are drawn.

    Args:
      inputs: [N, H, W, C], [N, H, W] or [N, L, F], any range; a table [N, F] is not looked at.
      kind: what one row is.
      truth: classes int [N]; numbers float [N] or [N, T] where there are no classes.
      prediction: as `truth`.
      losses: float [N].
      classes: class names; none of a regression.
      names: names of the T targets of a regression.
    """
    inputs, truth, prediction = np.asarray(inputs), np.asarray(truth), np.asarray(prediction)
    losses = np.asarray(losses, dtype=np.float64)
    if not len(truth) == len(prediction) == len(losses):
        raise ValueError(f"{len(truth)} truths, {len(prediction)} predictions and {len(losses)} losses")
    if kind != Kind.IMAGE and not classes:
        return scatter(truth, prediction, names)
    if kind == Kind.NUMBERS:
        return _losses(truth, prediction, losses, classes)
    if len(truth) > _MANY:
        rows = choose(truth, prediction, losses)
        inputs, truth, prediction, losses = inputs[rows], truth[rows], prediction[rows], losses[rows]
    if classes:
        short = labels(classes)
        wrong = truth != prediction
        said, true = ([label_of(int(k), short) for k in values] for values in (prediction, truth))
    else:
        wrong = losses >= np.quantile(losses, 0.75) if losses.size else np.zeros(0, bool)
        said, true = ([_numbers(row) for row in values] for values in (prediction, truth))
    titles = [p if p == t else f"{p}\ntrue: {t}" for p, t in zip(said, true, strict=True)]
    what = "wrong" if classes else "the largest errors"
    return _grid(pictures(inputs) if kind == Kind.IMAGE else inputs, titles, wrong, what)


def captioned(inputs: np.ndarray, texts: Sequence[tuple[str, str]]) -> Figure:
    """Draw pictures [N, H, W, C] in a grid, each with what was written about it and what is right."""
    lines = [[fill(*labels([text or "(nothing)"], length=60), 14) for text in pair] for pair in texts]
    titles = [said if said == true else f"{said}\ntrue: {true}" for said, true in lines]
    return _grid(pictures(inputs), titles, np.array([said != true for said, true in texts]), "wrong")


def scatter(truth: np.ndarray, prediction: np.ndarray, names: str | Sequence[str] = ()) -> Figure:
    """Draw predicted against true values, [N] or [N, T], a panel a target (nine at most), the worst five in red."""
    truth, prediction = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (truth, prediction))
    targets = min(9, truth.shape[1])
    names = [names] if isinstance(names, str) else list(names) or [f"target {k}" for k in range(targets)]
    titles = labels(names, length=30)
    columns = max(1, min(3, targets))
    rows = max(1, -(-targets // columns))
    figure = Figure(figsize=(4.2 * columns, 4.2 * rows), layout="constrained")
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
    axes.set(title=title + (f" ({lost:,} not finite)" if lost else ""), xlabel="true", ylabel="predicted")
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


def _losses(truth: np.ndarray, prediction: np.ndarray, losses: np.ndarray, classes: Sequence[str]) -> Figure:
    """The loss of each row of a table, by true class, errors in red."""
    short = labels(classes)
    figure = Figure(figsize=(7.5, float(np.clip(1.4 + 0.35 * len(classes), 2.6, 14))), layout="constrained")
    axes = figure.subplots()
    spread = np.random.default_rng(0).uniform(-0.28, 0.28, len(truth))  # so that equal rows do not hide each other
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
    axes.set(xlabel="loss", ylabel="true class", title=f"{int(wrong.sum()):,} of {len(truth):,} rows are wrong")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _grid(drawings: np.ndarray, titles: Sequence[str], wrong: np.ndarray, what: str) -> Figure:
    columns = max(1, min(8, len(titles)))
    rows = max(1, -(-len(titles) // columns))
    figure = Figure(figsize=(max(3.0, 1.35 * columns), 1.75 * rows + 0.4), layout="constrained")
    figure.suptitle(
        f"predictions; red: {what}" if wrong.any() else "predictions; none of these is wrong", fontsize=10
    )
    for k, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        if k >= len(titles):
            axes.set_axis_off()
            continue
        colour = WRONG if wrong[k] else _RIGHT
        if drawings.ndim == 3:
            axes.plot(drawings[k], lw=0.8)
            axes.set_box_aspect(1)
        else:
            axes.imshow(drawings[k])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(titles[k], fontsize=8, color=WRONG if wrong[k] else "black")
        for spine in axes.spines.values():
            spine.set(edgecolor=colour, linewidth=3.0 if wrong[k] else 0.8)
    return figure


def pictures(inputs: np.ndarray) -> np.ndarray:
    """Stretch pictures of any range together to RGB float [N, H, W, 3] in 0..1; odd channel counts are averaged."""
    values = inputs.astype(np.float32)
    if values.ndim == 3:
        values = values[..., None]
    values = values[..., :3] if values.shape[-1] in (3, 4) else values.mean(axis=-1, keepdims=True)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    values = np.nan_to_num((values - low) / (high - low if high > low else 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return np.broadcast_to(values, (*values.shape[:-1], 3))


def _numbers(row: np.ndarray) -> str:
    """The first three targets of a row."""
    return ", ".join(f"{value:.3g}" for value in np.ravel(row)[:3])
