"""Which output is explained: the logit of a class or label, or a value, as weights of all outputs."""

from dataclasses import dataclass

import numpy as np

from dltrain.errors import ConfigError
from dltrain.types import Kind, Spec


@dataclass(frozen=True)
class Selected:
    """The explained output of each example.

    Attributes:
        weights: like the outputs, [N, ...]; the sum of outputs times weights is explained.
        names: the class, label or target, for each example.
        what: what kind of number that is, for people.
    """

    weights: np.ndarray
    names: tuple[str, ...]
    what: str


def select(outputs: np.ndarray, spec: Spec, target: str | None = None) -> Selected:
    """Choose the predicted class or label, or the first target; `target` names another one.

    Args:
        outputs: before the targets' scaling is undone, [N, ...].
        spec: the features of the data.
        target: a class, a label or a target, by its name.

    Raises:
        ConfigError: no class, label or target has this name.
    """
    (feature,) = spec.targets.values()
    if feature.kind is Kind.CATEGORY and not feature.shape:
        return _class(outputs, spec.classes, target)
    if feature.kind is Kind.CATEGORY:
        return _pixels(outputs, spec.classes, target)
    if feature.kind is Kind.LABELS:
        fixed = _place(target, spec.labels, "label")
        return _one_of(outputs, spec.labels, fixed, "logit of the label")
    return _value(outputs, spec, target)


def _class(outputs: np.ndarray, classes: tuple[str, ...], target: str | None) -> Selected:
    fixed = _place(target, classes, "class")
    if outputs.shape[1:] != (1,):
        return _one_of(outputs, classes, fixed, "logit of the class")
    second = outputs[:, 0] > 0 if fixed is None else np.full(len(outputs), fixed == 1)
    signs = np.where(second, 1, -1).astype(np.float32)[:, None]  # the logit of the first class is minus the other
    return Selected(signs, tuple(classes[int(s)] for s in second), "logit of the class")


def _one_of(outputs: np.ndarray, names: tuple[str, ...], fixed: int | None, what: str) -> Selected:
    places = outputs.argmax(1) if fixed is None else np.full(len(outputs), fixed)
    weights = np.eye(outputs.shape[1], dtype=np.float32)[places]
    return Selected(weights, tuple(names[i] for i in places), what)


def _pixels(outputs: np.ndarray, classes: tuple[str, ...], target: str | None) -> Selected:
    """Take the mean logit of a class over the pixels where it is predicted; by default the most frequent but one.

    The most frequent class of the pixels usually is the background.
    """
    predicted = outputs.argmax(-1)
    fixed, weights, names = _place(target, classes, "class"), np.zeros_like(outputs, np.float32), []
    for i, mask in enumerate(predicted):
        counts = np.bincount(mask.reshape(-1), minlength=len(classes))
        order = np.argsort(-counts, kind="stable")
        number = int(order[1] if counts[order[1]] else order[0]) if fixed is None else fixed
        inside = mask == number if counts[number] else np.ones_like(mask, bool)
        weights[i, inside, number] = 1 / inside.sum()
        names.append(classes[number])
    return Selected(weights, tuple(names), "mean logit of the class over its pixels")


def _value(outputs: np.ndarray, spec: Spec, target: str | None) -> Selected:
    """Take one target of numbers, of several steps their mean, of several quantiles the middle one."""
    names, quantiles = target_names(spec), len(spec.task.quantiles)
    place = _place(target, names, "target") or 0
    weights = np.zeros_like(outputs, np.float32)
    of_target = weights[..., quantiles // 2] if quantiles else weights
    if spec.target.shape:
        of_target = of_target[..., place]
    of_target[...] = 1 / max(1, of_target[0].size)
    steps = f", mean of {spec.target.shape[0]} steps" if len(spec.target.shape) > 1 else ""
    return Selected(weights, (names[place],) * len(outputs), f"value in scaled units{steps}")


def target_names(spec: Spec) -> tuple[str, ...]:
    """Return the names of the targets of numbers."""
    wide = spec.target.shape[-1] if spec.target.shape else 1
    if len(spec.target.names) == wide:
        return spec.target.names
    return ("value",) if wide == 1 else tuple(f"value_{i}" for i in range(wide))


def _place(target: str | None, names: tuple[str, ...], what: str) -> int | None:
    if target is None:
        return None
    if target not in names:
        few = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
        raise ConfigError(f"target={target}: is not a {what} of this model, which has {few}")
    return names.index(target)
