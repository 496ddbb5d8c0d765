"""Config -> data: examples that are read, checked and split, fitted preprocessing, and the order of batches."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from dltrain.build.imbalance import balanced_classes
from dltrain.build.instantiate import build
from dltrain.build.split import split_source
from dltrain.config import schema
from dltrain.data.aligned import aligned
from dltrain.data.description import Description, describe
from dltrain.data.order import Pipeline, in_order, in_runs, streams
from dltrain.data.preprocess import Offset, Preprocess, Scale, fit_blocks
from dltrain.data.preprocess.pipeline import array_spec
from dltrain.data.preprocess.prepared import prepared
from dltrain.data.preprocess.step import check_step, has_host
from dltrain.data.scan import blocks, read_targets, read_whole, size_of
from dltrain.data.split import NAMES, Splits
from dltrain.devices import memory
from dltrain.errors import ConfigError
from dltrain.tasks import Task
from dltrain.types import Kind, Source, Spec

Config = Mapping[str, Any]

MUCH_PADDING = 10  # batches of more than this many times the training examples are refused
FEW_EXAMPLES = 10_000  # except those of at most this size

Order = Callable[[np.ndarray, int], np.ndarray]
"""(example numbers [N], batch size B) -> batches for their evaluation, int [n, B]."""


@dataclass(frozen=True)
class Data:
    """Checked examples, their splits, and the preprocessing fitted on the training split."""

    spec: Spec  # of the raw examples
    source: Source
    arrays: dict[str, Any] | None  # the whole data set, unless it is streamed
    splits: Splits
    preprocess: Preprocess
    groups: np.ndarray | None = None  # int [N], which the splits keep whole
    description: Description | None = None  # what was found in the files, if the source says so
    labels: np.ndarray | None = None  # classes, int [N], if each example has one


def open_source(node: Mapping[str, Any], trust: tuple[str, ...], **injected: Any) -> Any:
    """Build the source that the node `data` names; it is given the `injected` arguments that it has."""
    plain, own = schema.split_node("data", node)
    held = {name: own[name] for name in ("validation", "test", "group", "time", "split_column", "timeout")}
    given: dict[str, Any] = {
        "task": None,
        "stateful": False,
        "memory_left": _room_for(repr(plain)),
        **held,
        **injected,
    }
    return build(plain, path="data", trust=trust, **given)


@lru_cache(maxsize=8)
def _room_for(source: str) -> int:
    """Return the bytes that are free when a source is first opened.

    It is opened once to find the task and once to train; the answer must not change in between, or a table would be
    read into memory first and then in blocks.
    """
    del source
    return memory.host_room().bytes


def describe_data(source: Source, splits: Splits, description: Description | None) -> dict[str, Any]:
    """Describe data by its content and its splits: runs whose data is described alike have the same examples."""
    divided = {name: splits[name] for name in NAMES}
    files = description.files if description else {}
    return ({"files": {name: list(about) for name, about in files.items()}} if files else {}) | {
        "fingerprint": source.fingerprint,
        "examples": {name: len(indices) for name, indices in divided.items()},
        "splits": {name: hashlib.sha256(indices.tobytes()).hexdigest() for name, indices in divided.items()},
    }


def read_data(config: Config, trust: tuple[str, ...], *, task: Task, needed: str | None) -> Data:
    """Read the data; `needed` is the `data.scale` that model and loss require, or None."""
    return fit_data(read_examples(config, trust, task=task), config, trust, needed=needed)


@dataclass(frozen=True)
class Examples:
    """Checked examples, before anything depends on how they are split."""

    spec: Spec
    source: Any  # raw, if it is encoded by what is fitted on the training split
    arrays: dict[str, Any] | None  # the whole data set, unless it is streamed or encoded later
    targets: Any

    @property
    def encodes(self) -> bool:
        """Whether the arrays depend on what is fitted on the training split."""
        return hasattr(self.source, "encode")


def read_examples(config: Config, trust: tuple[str, ...], *, task: Task) -> Examples:
    """Open the source and check its targets."""
    _, own = schema.split_node("data", config["data"])
    source = open_source(config["data"], trust, task=task, stateful=is_stateful(config))
    spec = replace(source.spec, task=task)
    task.check(spec)
    arrays = None if hasattr(source, "encode") else read_resident(source, own["feed"])
    if hasattr(source, "read_targets"):
        targets = source.read_targets()
    else:
        targets = read_targets(source) if arrays is None else arrays["targets"]
    task.check_targets(targets, spec)
    return Examples(spec, source, arrays, targets)


def fit_data(examples: Examples, config: Config, trust: tuple[str, ...], *, needed: str | None) -> Data:
    """Split examples, and fit encoder and preprocessing on the training split; `needed` as for `read_data`."""
    _, own = schema.split_node("data", config["data"])
    spec, source, arrays, targets = examples.spec, examples.source, examples.arrays, examples.targets
    scale = _scale(own["scale"], needed, getattr(source, "scale", Scale.STANDARD))
    steps = _make_steps(own["preprocess"], trust)
    labels = targets if spec.has_labels else None
    divided = split_source(own, source, targets, spec)
    splits = _limited(config, divided.splits, own["split_seed"])
    encoder, description = getattr(source, "encoder", None), describe(source, splits.train)
    if examples.encodes:
        source, encoder = source.encode(splits.train)
        spec, arrays = replace(source.spec, task=spec.task), read_resident(source, own["feed"])
    if labels is not None:
        counts = {n: tuple(np.bincount(labels[splits[n]], minlength=len(spec.classes)).tolist()) for n in NAMES}
        spec = replace(spec, counts=counts)
    fitted_for = {"bins": config["model"].get("embedding") == "ple", "clamp": own["clamp"]}
    preprocess = fit_blocks(lambda: blocks(source, splits.train), spec=spec, scale=scale, steps=steps, **fitted_for)
    preprocess = replace(preprocess, encoder=encoder, standardised_metrics=own["metrics_in"] == "standardised")
    fitted = [step for chain in preprocess.inputs.values() for step in chain.steps]
    if any(has_host(step) for step in steps) or any(isinstance(step, Offset) for step in fitted):
        source = prepared(source, preprocess, array_spec(spec, preprocess))
        arrays = arrays and {**arrays, "inputs": jax.tree.map(aligned, preprocess.host(arrays["inputs"]))}
    return Data(spec, source, arrays, splits, preprocess, divided.groups, description, labels)


def read_resident(source: Source, feed: str) -> dict[str, Any] | None:
    """Read and check the whole data set if the device is to hold it, else return None."""
    fits = size_of(source) <= memory.room_for_data() and not getattr(source, "overlapping", False)
    stays = feed == "resident" or (feed == "auto" and fits)
    return read_whole(source) if stays else None


def _limited(config: Config, splits: Splits, seed: int) -> Splits:
    """Keep only as many examples to evaluate on as `limit_batches` allows."""
    if not (limit := config["limit_batches"]):
        return splits
    most = limit * _batch_size(config, splits)
    return replace(splits, **{n: _some(splits[n], most, seed) for n in ("validation", "test")})


def _make_steps(nodes: Sequence[Mapping[str, Any]], trust: tuple[str, ...]) -> list[Any]:
    """Build the steps of `data.preprocess`; they are not fitted yet."""
    steps = []
    for i, node in enumerate(nodes):
        path = f"data.preprocess[{i}]"
        steps.append(build(node, path=path, trust=trust))
        check_step(steps[-1], path)
    return steps


def is_stateful(config: Config) -> bool:
    """Tell whether the model keeps its recurrent state from batch to batch, which determines the batch layout."""
    return config["model"].get("stateful") is True


def _batch_size(config: Config, splits: Splits) -> int:
    count, size = len(splits.train), config["batch_size"]
    if size == "all":
        return count
    if size > max(MUCH_PADDING * count, FEW_EXAMPLES):
        raise ConfigError(
            f"batch_size={size}: there are {count:,} training examples, so most of each batch would be padding; "
            "batch_size=all takes all of them"
        )
    return size


def make_order(
    config: Config, source: Any, splits: Splits, labels: np.ndarray | None = None
) -> tuple[Pipeline, Order]:
    """Return the order of the training examples, and that of evaluation; `labels` are the classes, int [N]."""
    shuffle, examples, size = config["data"]["shuffle"], splits.train, _batch_size(config, splits)
    evaluated: Order = in_order
    if is_stateful(config):
        if source.spec.find(Kind.POSITION) is None:
            raise ConfigError(
                "model.stateful=true: the examples of this data do not continue one another; the windows of a text "
                "do (data=characters); set model.stateful=false"
            )
        places = {"at": source.position, "length": source.spec.input.shape[0]}
        examples, shuffle, evaluated = streams(examples, size, **places), False, partial(in_runs, **places)
    classes = balanced_classes(config["data"], labels, shuffle=shuffle)
    options = {"shuffle": shuffle, "limit": config["limit_batches"], "overfit": config["overfit_batches"]}
    chosen = None if classes is None else classes[examples]
    return Pipeline(examples, size, config["seed"], **options, classes=chosen), evaluated


def _scale(wanted: str, needed: str | None, usual: str) -> Scale:
    """Return the scaling: `needed` is that of model and loss, `usual` that of the source, for data.scale=auto."""
    if needed and wanted not in ("auto", needed):
        raise ConfigError(f"data.scale={wanted}: this model and loss need data.scale={needed}")
    return Scale(needed or usual) if wanted == "auto" else Scale(wanted)


def _some(examples: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Pick at most `most` examples from the whole split, since files are often sorted by class."""
    return np.sort(np.random.default_rng(seed).permutation(examples)[:most])
