"""Tensor parallelism: which axis of which parameter is divided over the mesh axis `model`.

A parameter is divided by the last rule whose regular expression matches its name. Of a pair of matrices the first
is divided by its outputs and the second by its inputs, so that only the result of the second is summed over devices
(Shoeybi et al., arXiv:1909.08053). A parameter without a rule has a copy on each device.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.errors import ConfigError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Rule:
    """Parameters whose name matches are divided along `axis`; None: they are not divided."""

    match: str
    axis: int | None
    ndims: tuple[int, ...] = ()  # only parameters with so many axes; (): all

    def __str__(self) -> str:
        """Write it as in the config."""
        return f"{{match: {self.match}, axis: {'null' if self.axis is None else self.axis}}}"


DEFAULTS = (
    Rule(r"(^|\.)(hidden|dense|decoder)\.\d*[02468]\.kernel$", 1, (2,)),  # of a stack, every first by its outputs
    Rule(r"(^|\.)(hidden|dense|decoder)\.\d*[13579]\.kernel$", 0, (2,)),  # and every second by its inputs
    Rule(r"(^|\.)up\.kernel$", 1, (2,)),  # the dense layers of a transformer's block
    Rule(r"(^|\.)down\.kernel$", 0, (2,)),
    Rule(r"(^|\.)(query|key|value)\.kernel$", 1, (2, 3)),  # outputs or heads: [W, W], or flax's [W, heads, D]
    Rule(r"(^|\.)(qkv|keys_values)\.kernel$", 0, (2,)),  # a step divides these by heads: see models.blocks
    Rule(r"(attention|cross|attn)\w*\.out\.kernel$", 0, (2, 3)),  # by the heads that it reads
    Rule(r"(^|\.)kernel$", 3, (4,)),  # convolutions [h, w, in, out], by their output channels
    Rule(r"(^|\.)embedding\.(table|embedding)$", 1, (2,)),  # by features: a lookup needs no other device
)


def divide(shapes: Shapes, own: Sequence[Mapping[str, Any]], parts: int) -> dict[str, int]:
    """Return the axis along which each divided parameter is cut into `parts`, by its name.

    Args:
        shapes: of all parameters.
        own: rules of the config, `{match, axis}`, which come after the defaults.
        parts: size of the mesh axis `model`. A default that does not divide evenly does not apply.

    Raises:
        ConfigError: a rule of the config matches no parameter, or one that it cannot divide evenly.
    """
    chosen = {name: _default(name, shape, parts) for name, shape in shapes.items()}
    if _reads_divided(shapes, chosen):
        chosen["head.kernel"] = 0
    for rule in (Rule(given["match"], given["axis"]) for given in own):
        matched = [name for name in shapes if re.search(rule.match, name)]
        if not matched:
            raise ConfigError(f"runtime.rules: {rule}: matches no parameter of {', '.join(shapes)}")
        for name in matched:
            chosen[name] = _checked(rule, name, shapes[name], parts)
    found = {name: axis for name, axis in chosen.items() if axis is not None}
    return {**_biases(shapes, found), **found}


def _default(name: str, shape: tuple[int, ...], parts: int) -> int | None:
    for rule in DEFAULTS:
        if len(shape) in rule.ndims and re.search(rule.match, name) and rule.axis is not None:
            return rule.axis if shape[rule.axis] % parts == 0 else None
    return None


def _reads_divided(shapes: Shapes, chosen: Mapping[str, int | None]) -> bool:
    """Tell whether the last layer of a stack is divided by its outputs, so that the head is by its inputs."""
    found = {int(m[1]): name for name in shapes if (m := re.match(r"(?:hidden|dense)\.(\d+)\.kernel$", name))}
    return bool(found) and "head.kernel" in shapes and chosen[found[max(found)]] == 1


def _checked(rule: Rule, name: str, shape: tuple[int, ...], parts: int) -> int | None:
    if rule.axis is None:
        return None
    if rule.axis >= len(shape):
        raise ConfigError(f"runtime.rules: {rule}: {name} {list(shape)} has no axis {rule.axis}")
    if shape[rule.axis] % parts:
        even = [str(axis) for axis, size in enumerate(shape) if size % parts == 0]
        advice = f"axis {' or '.join(even)} does" if even else "no axis of it does"
        raise ConfigError(
            f"runtime.rules: {rule}: axis {rule.axis} of {name} {list(shape)} does not divide by "
            f"model: {parts}; {advice}"
        )
    return rule.axis


def _biases(shapes: Shapes, found: Mapping[str, int]) -> dict[str, int]:
    """Return the biases of kernels that are divided by their outputs: each device adds its part."""
    biases = {}
    for name, axis in found.items():
        stem, _, leaf = name.rpartition(".")
        bias = f"{stem}.bias" if stem else "bias"
        if leaf == "kernel" and axis == len(shapes[name]) - 1 and shapes.get(bias) == shapes[name][-1:]:
            biases[bias] = 0
    return biases


def axis_of(name: str, shape: tuple[int, ...], divided: Mapping[str, tuple[tuple[int, ...], int]]) -> int | None:
    """Return the axis of a leaf of a TrainState: that of the parameter with whose name it ends, if shapes agree.

    So `opt_state.0.mu.hidden.0.kernel` is divided as `hidden.0.kernel`; a factored moment has another shape.
    """
    parts = name.split(".")
    for start in range(1, len(parts)):
        if (known := divided.get(".".join(parts[start:]))) is not None:
            return known[1] if known[0] == tuple(shape) else None
    return None
