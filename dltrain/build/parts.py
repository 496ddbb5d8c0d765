"""Config -> Parts: the one place where the parts meet. Below `optimizing` there is no config."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from flax import nnx

from dltrain import activations, losses
from dltrain.build.instantiate import bind, build, is_function
from dltrain.build.optimizer import make_optimizer, make_schedule
from dltrain.callbacks.plateau import Patience
from dltrain.config import schema
from dltrain.data.augment.chain import Chain
from dltrain.data.order import Pipeline, in_order, in_runs, streams
from dltrain.data.preprocess import Preprocess, Scale, fit_blocks
from dltrain.data.scan import blocks, read_targets, read_whole, size_of
from dltrain.data.split import NAMES, Splits, make_splits
from dltrain.devices import memory
from dltrain.durations import Duration
from dltrain.engine.events import Callback
from dltrain.engine.state import OptimizerFactory
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.metrics import Average
from dltrain.optimizers.rules import Rule
from dltrain.types import SELF_SUPERVISED, Array, Source, Spec, Task

Config = Mapping[str, Any]
OF_LOGITS = (losses.cross_entropy, losses.binary_cross_entropy, losses.focal, losses.f1, losses.kl)


@dataclass(frozen=True)
class Parts:
    """Everything a run is made of, built and checked."""

    spec: Spec
    source: Source
    arrays: dict[str, np.ndarray] | None  # the whole data set, unless it is streamed
    splits: Splits
    pipeline: Pipeline
    preprocess: Preprocess
    make_model: Callable[[nnx.Rngs], nnx.Module]
    objective: Objective
    optimizer: OptimizerFactory
    hparams: dict[str, float]  # numbers of the optimizer that may differ between runs of one program
    rules: tuple[Rule, ...]
    schedule: Callable[..., Array]
    augment: Chain
    metrics: dict[str, Any]
    accumulate: int  # pieces that a batch is worked off in
    better: dict[str, str]  # metric -> "higher" or "lower"
    callbacks: list[tuple[Duration, Callback]]
    plateau: Patience | None = None  # how the rate follows the monitored number, where it does
    in_batches: Callable[[np.ndarray, int], np.ndarray] = in_order  # (rows, B) -> batches that are evaluated

    def described(self) -> dict[str, Any]:
        """Say what the data is: what a later start must find again."""
        splits = {name: self.splits[name] for name in NAMES}
        return {
            "fingerprint": self.source.fingerprint,
            "rows": {name: len(rows) for name, rows in splits.items()},
            "splits": {name: hashlib.sha256(rows.tobytes()).hexdigest() for name, rows in splits.items()},
            "classes": list(self.spec.classes),
            "features": list(self.spec.features),
        }


def assemble(config: Config, trust: tuple[str, ...] = ()) -> Parts:
    """Read the data and build every part; a mistake in any is raised here, before anything is computed."""
    loss, own = schema.parted("loss", config["loss"])
    objective = Objective(bind(loss, path="loss", trust=trust, microbatches=config["optim"]["accumulate"]), **own)
    of_bits = getattr(objective.loss, "func", objective.loss) is losses.binary_cross_entropy
    needed = "unit" if of_bits and config["model"]["task"] == Task.RECONSTRUCTION else None
    spec, source, arrays, splits, preprocess = _data(config, trust, needed=needed)
    objective, preprocess = _finished(objective, preprocess, config, spec)
    pipeline, in_batches = _order(config, source, splits)
    per_epoch = pipeline.steps_per_epoch
    optimizer, hparams, rules = make_optimizer(config["optim"], trust, whole=per_epoch == 1)
    schedule, plateau = make_schedule(config["schedule"], per_epoch, trust)
    model, _ = schema.parted("model", config["model"])
    metrics, better = _metrics(config["metrics"], spec, trust)
    return Parts(
        spec=spec,
        source=source,
        arrays=arrays,
        splits=splits,
        pipeline=pipeline,
        in_batches=in_batches,
        preprocess=preprocess,
        make_model=lambda rngs: build(model, path="model", trust=trust, spec=spec, rngs=rngs),
        objective=objective,
        optimizer=optimizer,
        hparams={**hparams, **({"scale": 1.0} if plateau else {})},
        rules=rules,
        schedule=schedule,
        plateau=plateau,
        augment=_augmentations(config["augment"], spec, preprocess, pipeline, trust),
        metrics=metrics,
        accumulate=_microbatches(config["optim"]["accumulate"], pipeline.batch_size),
        better=better,
        callbacks=_callbacks(config, trust),
    )


def _finished(
    objective: Objective, preprocess: Preprocess, config: Config, spec: Spec
) -> tuple[Objective, Preprocess]:
    """Put `model.output_activation` between the model and the loss, or raise ConfigError.

    Metrics of classes take logits, so that they see the outputs before it; metrics of numbers see those behind it.
    """
    name, loss = config["model"]["output_activation"], objective.loss
    key, plain = f"model.output_activation={name}", getattr(loss, "func", loss)
    of_probabilities = "softmax" if spec.outputs > 1 else "sigmoid"
    if plain is losses.nll and name != of_probabilities and config["model"]["_target_"].startswith("dltrain."):
        raise ConfigError(
            f"loss=nll: takes probabilities; set model.output_activation={of_probabilities}, or take a loss that "
            "begins with logits (loss=auto)"
        )
    if plain is losses.binary_cross_entropy and spec.task in (Task.REGRESSION, Task.RECONSTRUCTION):
        # Several labels a row, or the inputs themselves: metrics and pictures are of numbers from 0 to 1, too.
        if preprocess.scales_targets:
            raise ConfigError(
                "loss=binary_cross_entropy: takes targets from 0 to 1, and these are standardised; set "
                "data.scale=unit, symmetric or none"
            )
        preprocess = replace(preprocess, final=activations.sigmoid)
    if not name:
        return objective, preprocess
    if spec.task in SELF_SUPERVISED:
        raise ConfigError(f"{key}: is for the targets of the data, and this model has none")
    if (name in ("sigmoid", "softmax") or preprocess.final) and plain in OF_LOGITS:
        raise ConfigError(f"{key}: this loss begins with logits; leave it out, or take loss=nll or loss=mse")
    if name == "softmax" and spec.outputs == 1:
        raise ConfigError(f"{key}: of a single output is always 1; take sigmoid")
    if preprocess.scales_targets:
        raise ConfigError(f"{key}: the targets are standardised; set data.scale=unit, symmetric or none")
    activation = getattr(activations, name)
    seen = {} if spec.task is not Task.REGRESSION else {"final": activation}
    behind = replace(objective, loss=lambda outputs, batch: loss(activation(outputs), batch))
    return behind, replace(preprocess, **seen)


def _data(config: Config, trust: tuple[str, ...], *, needed: str | None) -> tuple[Any, ...]:
    node, own = schema.parted("data", config["data"])
    task = {"task": Task(own["task"])} if own.get("task") else {}
    held = {name: own[name] for name in ("validation", "test")}
    injected = {"stateful": _is_stateful(config), "memory_left": memory.host_room().bytes}
    source = build(node, path="data", trust=trust, **task, **held, **injected)
    spec = source.spec
    of_model = schema.parted("model", config["model"])[1]
    scale = _scale(own["scale"], needed or of_model["scale"])
    stays = own["feed"] == "resident" or (own["feed"] == "auto" and size_of(source) <= memory.room_for_data())
    arrays = read_whole(source) if stays else None
    targets = read_targets(source) if arrays is None else arrays["targets"]
    labels = targets if spec.has_labels else None
    if own["fold"] >= (own["folds"] or 1):
        numbered = f"folds are numbered from 0 to {own['folds'] - 1}" if own["folds"] else "set data.folds=5, too"
        raise ConfigError(f"data.fold={own['fold']}: {numbered}")
    cut = {"folds": own["folds"], "fold": own["fold"], "seed": own["split_seed"]}
    splits = make_splits(labels, len(source), published=source.published, **held, **cut)
    if limit := config["limit_batches"]:
        most = limit * _batch_size(config, splits)
        few = {n: _some(splits[n], most, own["split_seed"]) for n in ("validation", "test")}
        splits = replace(splits, **few)
    if labels is not None:
        counts = {n: tuple(np.bincount(labels[splits[n]], minlength=len(spec.classes)).tolist()) for n in NAMES}
        spec = replace(spec, counts=counts)
    spec = replace(spec, task=Task(of_model["task"])) if of_model["task"] else spec
    preprocess = fit_blocks(lambda: blocks(source, splits.train), spec=spec, scale=scale)
    return spec, source, arrays, splits, preprocess


def _is_stateful(config: Config) -> bool:
    """Tell whether the model keeps its recurrent state from batch to batch, which decides the batch layout."""
    return config["model"].get("stateful") is True


def _batch_size(config: Config, splits: Splits) -> int:
    return len(splits.train) if config["batch_size"] == "all" else config["batch_size"]


def _order(config: Config, source: Any, splits: Splits) -> tuple[Pipeline, Callable[[np.ndarray, int], np.ndarray]]:
    """Return the order in which rows are trained on, and that in which they are evaluated."""
    shuffle, rows, size = config["data"]["shuffle"], splits.train, _batch_size(config, splits)
    evaluated: Callable[[np.ndarray, int], np.ndarray] = in_order
    if _is_stateful(config):
        if "at" not in source.spec.more:
            raise ConfigError(
                "model.stateful=true: the examples of this data do not continue one another; the windows of a text "
                "do (data=characters); set model.stateful=false"
            )
        places = {"at": source.at, "length": source.spec.inputs.shape[0]}
        rows, shuffle, evaluated = streams(rows, size, **places), False, partial(in_runs, **places)
    limit, overfit = config["limit_batches"], config["overfit_batches"]
    return Pipeline(rows, size, config["seed"], shuffle=shuffle, limit=limit, overfit=overfit), evaluated


def _scale(wanted: str, needed: str | None) -> Scale:
    if needed and wanted not in ("auto", needed):
        raise ConfigError(f"data.scale={wanted}: this model and loss need data.scale={needed}")
    return Scale(needed or "standard") if wanted == "auto" else Scale(wanted)


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Pick at most so many rows, from all over the split: files are often sorted by class."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def _microbatches(accumulate: int, batch_size: int) -> int:
    if batch_size % accumulate:
        near = max(n for n in range(1, accumulate) if batch_size % n == 0)
        raise ConfigError(
            f"optim.accumulate={accumulate}: a batch of {batch_size} rows cannot be cut into so many equal pieces; "
            f"try optim.accumulate={near}"
        )
    return accumulate


def _metrics(nodes: Mapping[str, Any], spec: Spec, trust: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    metrics, better = {}, {"loss": "lower"}
    for name, full in nodes.items():
        path, node = f"metrics.{name}", schema.parted("metrics", full)[0]
        plain = is_function(node, path=path, trust=trust)
        metrics[name] = (
            Average(bind(node, path=path, trust=trust)) if plain else build(node, path=path, trust=trust, spec=spec)
        )
        if full.get("better"):
            better[name] = full["better"]
    return metrics, better


def _augmentations(
    nodes: Mapping[str, Any], spec: Spec, preprocess: Preprocess, pipeline: Pipeline, trust: tuple[str, ...]
) -> Chain:
    injected = {"spec": spec, **({"scaled_by": preprocess.scaling} if preprocess.scaling else {})}
    named = {
        name: bind(node, path=f"augment.{name}", trust=trust, **injected)
        for name, node in nodes.items()
        if name not in schema.keys_beside("augment")
    }
    rest = nodes["off_for"] and Duration.parse(nodes["off_for"]).steps(pipeline.steps_per_epoch)
    return Chain(named, spec, off_for=rest or 0)


def _callbacks(config: Config, trust: tuple[str, ...]) -> list[tuple[Duration, Callback]]:
    found = []
    for name, full in config["callbacks"].items():
        node = {k: v for k, v in full.items() if k != "every"}
        path = f"callbacks.{name}"
        plain = is_function(node, path=path, trust=trust)
        callback = bind(node, path=path, trust=trust) if plain else build(node, path=path, trust=trust)
        try:
            found.append((Duration.parse(full.get("every", config["eval_every"])), callback))
        except ValueError as error:
            raise ConfigError(f"{path}.every={full['every']}: {error}") from error
    return found
