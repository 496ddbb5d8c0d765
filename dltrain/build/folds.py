"""Folds of one data set that share a compiled program, which takes what was fitted on their training examples."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from dltrain.build.data import fit_data, read_examples
from dltrain.build.imbalance import balanced_weights
from dltrain.build.model import make_model, make_task
from dltrain.build.objective import make_objective, needed_scale
from dltrain.build.parts import Parts, assemble_on, make_augmentations
from dltrain.build.plan import Plan, make_plan
from dltrain.build.step import StepParts
from dltrain.config import schema
from dltrain.data.aligned import aligned
from dltrain.data.preprocess.fitted import arrays_of, structure_of, with_arrays
from dltrain.data.split import NAMES
from dltrain.devices import memory
from dltrain.engine.state import trace_module
from dltrain.types import Spec

Config = Mapping[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Folded:
    """What a program is built from, as a function of what was fitted on the training examples of a fold."""

    config: Config  # of one of the folds
    trust: tuple[str, ...]
    keys: tuple[str, ...] = ()  # none of it is a leaf of the state

    def numbers(self, parts: Parts, config: Config) -> dict[str, np.float32]:
        """Return no numbers of a state."""
        del parts, config
        return {}

    def inputs(self, parts: Parts) -> Values:
        """Return the arrays of a fold."""
        weights = balanced_weights(make_objective(self.config, self.trust), parts.spec)
        own = {} if weights is None else {"class_weights": np.asarray(weights, np.float32)}
        return {"preprocess": arrays_of(parts.preprocess), **own}

    def change(self, made: StepParts, values: Values) -> StepParts:
        """Put the arrays of a fold into preprocessing and augmentation, inside a trace."""
        parts = made.parts
        preprocess = with_arrays(parts.preprocess, values["preprocess"])
        augment = make_augmentations(self.config["augment"], parts.spec, preprocess, parts.pipeline, self.trust)
        return replace(made, parts=replace(parts, preprocess=preprocess, augment=augment))

    def of_objective(self, values: Values) -> dict[str, Any]:
        """Return the balanced class weights of a fold, None without."""
        return {"class_weights": values.get("class_weights")}


@dataclass(frozen=True)
class Alike:
    """Folds that share a program."""

    shared: Parts  # of the program, with the data of all
    parts: Mapping[int, Parts]  # of each fold, by its number


def read_folds(configs: Mapping[int, Config], trust: tuple[str, ...]) -> list[Alike]:
    """Read the data once, fit each fold, and group the folds that share a program, in their order.

    Args:
        configs: fold -> a config of it; they differ in `data.fold`, and in what no program depends on.
        trust: the user's packages.

    Returns:
        The groups; a fold that cannot be built, or whose examples do not fit into memory, is in none of them.
    """
    first = next(iter(configs.values()))
    task, objective = make_task(first, trust), make_objective(first, trust)
    examples = read_examples(first, trust, task=task)
    needed = needed_scale(objective, first, task)
    groups: list[dict[int, Parts]] = []
    plans: dict[int, Plan] = {}
    watched: list[bool] = []
    for fold, config in configs.items():
        try:
            data = fit_data(examples, config, needed=needed, trust=trust)
            parts = assemble_on(data, config, trust, make_objective(config, trust))
            plans[fold] = make_plan(config, parts)
        except Exception:  # said by its own run, of a user's part, too
            continue
        for group in groups:
            number, other = next(iter(group.items()))
            if not _alike(parts, other) or not _plans_alike(plans[fold], plans[number]):
                continue
            if parts.spec.counts != other.spec.counts:
                watched = watched or [_reads_counts(first, trust, parts.spec)]
                if watched[0]:
                    continue
            if added := _with_data_of(group.values(), parts):
                group[fold] = added
            break
        else:
            groups.append({fold: parts})
    return [_joined(group) for group in groups]


def _with_data_of(others: Collection[Parts], parts: Parts) -> Parts | None:
    """Share the examples of an equal fold; None if the fold needs its own, and they do not fit into memory."""
    for other in others:
        if _equal(other.arrays, parts.arrays):
            return replace(parts, arrays=other.arrays, source=other.source)
    taken = memory.size([other.arrays for other in others]) + memory.size(parts.arrays)
    return parts if taken <= memory.room_for_data() else None


def _alike(one: Parts, other: Parts) -> bool:
    """Tell whether two folds differ in the values of arrays only, and have as many steps per epoch."""

    def shown(parts: Parts) -> list[Any]:
        shapes = jax.tree.map(lambda array: (array.shape, str(array.dtype)), parts.arrays)
        order = parts.pipeline.batch_size, parts.pipeline.steps_per_epoch
        specs = replace(parts.spec, counts={}), replace(parts.raw_spec, counts={})
        return [*specs, structure_of(parts.preprocess), shapes, order]

    return shown(one) == shown(other)


def _plans_alike(one: Plan, other: Plan) -> bool:
    """Tell whether two plans differ only in what no compiled function depends on."""
    apart: dict[str, Any] = {"seed": 0, "monitor": None, "warnings": ()}
    return replace(one, **apart) == replace(other, **apart)


class _Watched(Spec):
    """A spec that notes when the numbers of examples of the classes are read, which differ between folds."""

    def __getattribute__(self, name: str) -> Any:
        if name == "counts":
            object.__setattr__(self, "was_read", True)
        return super().__getattribute__(name)


def _reads_counts(config: Config, trust: tuple[str, ...], spec: Spec) -> bool:
    """Tell whether a part of a user's may depend on the number of examples of each class.

    A model is watched while it is built. Other parts that are given a spec keep it, so theirs is not shared.
    """
    nodes = [config["task"], *config["metrics"].values(), *(n for n in config["augment"].values() if _is_node(n))]
    if any(not _is_own(node) for node in nodes):
        return True
    if _is_own(config["model"]):
        return False
    watched = _Watched(**{field.name: getattr(spec, field.name) for field in fields(Spec)})
    node, _ = schema.split_node("model", config["model"])
    trace_module(partial(make_model, node, trust, watched))
    return bool(vars(watched).get("was_read"))


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _is_own(node: Mapping[str, Any]) -> bool:
    """Tell whether a part is one of dltrain's."""
    return str(node["_target_"]).startswith("dltrain.")


def _joined(group: Mapping[int, Parts]) -> Alike:
    """Let the folds of a group share the data on the device, and what is compiled for it.

    Examples that were encoded by what was fitted on a fold are rows of their own in these arrays, one fold after
    another.
    """
    first = next(iter(group.values()))
    largest = max(group.values(), key=lambda parts: max(len(parts.splits[name]) for name in NAMES))
    distinct: list[Any] = []
    begins = {}
    for fold, parts in group.items():
        place = next((i for i, arrays in enumerate(distinct) if arrays is parts.arrays), len(distinct))
        distinct += [parts.arrays] if place == len(distinct) else []
        begins[fold] = place * len(first.source)
    arrays, count = first.arrays, len(first.source)
    if len(distinct) > 1:
        arrays = jax.tree.map(lambda *each: aligned(np.concatenate(each)), *distinct)
    # A metric that keeps all examples has room for those of the largest split.
    shared = replace(first, arrays=arrays, metrics=largest.metrics)
    same = {name: getattr(first, name) for name in ("make_model", "optimizer", "schedule", "rules")}

    def own(fold: int, parts: Parts) -> Parts:
        begin = begins[fold]
        mine = jax.tree.map(lambda array: array[begin : begin + count], arrays)
        return replace(parts, **same, arrays=mine, begin=begin)

    return Alike(shared, {fold: own(fold, parts) for fold, parts in group.items()})


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a is b or np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
