"""Config -> Parts: the one place where the parts meet. Below it there are only values, arrays and functions."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from dltrain.config import schema
from dltrain.config.build import accepts, bind, build, is_function
from dltrain.data.pipeline import Pipeline
from dltrain.data.preprocess import Preprocess, Scale, fit_blocks
from dltrain.data.split import NAMES, Splits, make_splits
from dltrain.data.survey import blocks, read_targets, read_whole, size_of
from dltrain.durations import Duration
from dltrain.engine.callbacks import Callback
from dltrain.engine.extras import ELSEWHERE, needs
from dltrain.engine.memory import room_for_data
from dltrain.engine.plateau import Patience
from dltrain.engine.rules import Rule, apply_rules, clip_each, decay_by_rules, decayed
from dltrain.engine.state import OptimizerFactory
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.metrics import Average
from dltrain.types import Array, Batch, Source, Spec, Task

Config = Mapping[str, Any]
CLIPS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "norm": optax.clip_by_global_norm,
    "block": clip_each,
    "value": optax.clip,
    "adaptive": optax.adaptive_grad_clip,
}


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
    augment: Callable[[Batch, Array], Batch]
    metrics: dict[str, Any]
    accumulate: int  # pieces that a batch is worked off in
    better: dict[str, str]  # metric -> "higher" or "lower"
    callbacks: list[tuple[Duration, Callback]]
    follows: Patience | None = None  # of a schedule that follows the monitored number

    def described(self) -> dict[str, Any]:
        """Say what the data is: what a later start must find again."""
        splits = {name: self.splits[name] for name in NAMES}
        return {
            "fingerprint": self.source.fingerprint,
            "rows": {name: len(rows) for name, rows in splits.items()},
            "splits": {name: hashlib.sha256(rows.tobytes()).hexdigest() for name, rows in splits.items()},
            "classes": list(self.spec.classes),
            "features": list(self.spec.features),
            "scaling": self.preprocess.describe(),
        }


def assemble(config: Config, trust: tuple[str, ...] = ()) -> Parts:
    """Read the data and build every part; a mistake in any is raised here, before anything is computed."""
    spec, source, arrays, splits, pipeline, preprocess = _data(config, trust)
    rules = tuple(Rule(**rule) for rule in config["optim"]["rules"])
    optimizer, hparams = _optimizer(config["optim"], rules, trust, whole=pipeline.steps_per_epoch == 1)
    schedule, follows = _schedule(config, pipeline.steps_per_epoch, trust)
    loss, own = _without_engine_keys(config, "loss")
    model, _ = _without_engine_keys(config, "model")
    metrics, better = _metrics(config["metrics"], spec, trust)
    return Parts(
        spec=spec,
        source=source,
        arrays=arrays,
        splits=splits,
        pipeline=pipeline,
        preprocess=preprocess,
        make_model=lambda rngs: build(model, path="model", trust=trust, spec=spec, rngs=rngs),
        objective=Objective(bind(loss, path="loss", trust=trust), **own),
        optimizer=optimizer,
        hparams={**hparams, **({"scale": 1.0} if follows else {})},
        rules=rules,
        schedule=schedule,
        follows=follows,
        augment=_chain(
            [bind(n, path=f"augment.{k}", trust=trust, spec=spec) for k, n in config["augment"].items()]
        ),
        metrics=metrics,
        accumulate=_pieces(config["optim"]["accumulate"], pipeline.batch_size),
        better=better,
        callbacks=_callbacks(config, trust),
    )


def _without_engine_keys(config: Config, group: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a group's node into what its target takes, and the keys that are the engine's own."""
    own = schema.engine_keys(group)
    node = config[group]
    return {k: v for k, v in node.items() if k not in own}, {k: node[k] for k in own if k in node}


def _data(config: Config, trust: tuple[str, ...]) -> tuple[Any, ...]:
    node, own = _without_engine_keys(config, "data")
    task = {"task": Task(own["task"])} if own.get("task") else {}
    source = build(node, path="data", trust=trust, **task)
    spec = source.spec
    own_task = _without_engine_keys(config, "model")[1]["task"]
    stays = own["feed"] == "resident" or (own["feed"] == "auto" and size_of(source) <= room_for_data())
    arrays = read_whole(source) if stays else None
    targets = read_targets(source) if arrays is None else arrays["targets"]
    labels = targets if spec.has_labels else None
    held = {name: own[name] for name in ("validation", "test")}
    if own["fold"] >= (own["folds"] or 1):
        numbered = f"folds are numbered from 0 to {own['folds'] - 1}" if own["folds"] else "set data.folds=5, too"
        raise ConfigError(f"data.fold={own['fold']}: {numbered}")
    held |= {"folds": own["folds"], "fold": own["fold"], "seed": own["split_seed"]}
    splits = make_splits(labels, len(source), published=source.published, **held)
    batch_size = len(splits.train) if config["batch_size"] == "all" else config["batch_size"]
    if limit := config["limit_batches"]:
        few = {n: _some(splits[n], limit * batch_size, own["split_seed"]) for n in ("validation", "test")}
        splits = replace(splits, **few)
    if labels is not None:
        counts = {n: tuple(np.bincount(labels[splits[n]], minlength=len(spec.classes)).tolist()) for n in NAMES}
        spec = replace(spec, counts=counts)
    spec = replace(spec, task=Task(own_task)) if own_task else spec
    pipeline = Pipeline(
        splits.train,
        batch_size,
        config["seed"],
        shuffle=own["shuffle"],
        limit=limit,
        overfit=config["overfit_batches"],
    )
    preprocess = fit_blocks(blocks(source, splits.train), spec=spec, scale=Scale(own["scale"]))
    return spec, source, arrays, splits, pipeline, preprocess


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Pick at most so many rows, from all over the split: files are often sorted by class."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def _schedule(
    config: Config, per_epoch: int, trust: tuple[str, ...]
) -> tuple[Callable[..., Array], Patience | None]:
    """Bind the schedule; one that takes `scale` follows the monitored number, by its other arguments."""
    node, own = _without_engine_keys(config, "schedule")
    if own["warmup_epochs"] is not None:
        if node.get("warmup_steps"):
            both = f"schedule.warmup_epochs={own['warmup_epochs']} schedule.warmup_steps={node['warmup_steps']}"
            raise ConfigError(f"{both}: give one of them")
        node["warmup_steps"] = round(own["warmup_epochs"] * per_epoch)
    takes = accepts(node, path="schedule", trust=trust)
    options = {f.name: takes[f.name] for f in fields(Patience) if f.name in takes}
    return bind(node, path="schedule", trust=trust), Patience(**options) if "scale" in takes else None


def _optimizer(
    node: Mapping[str, Any], rules: tuple[Rule, ...], trust: tuple[str, ...], *, whole: bool
) -> tuple[OptimizerFactory, dict[str, float]]:
    """Put clipping, the update rule and the rules by name together; `whole`: each batch is all there is."""
    clip, name = node["clip"], node["_target_"].rpartition(".")[2]
    node = {k: v for k, v in node.items() if k not in schema.engine_keys("optim")}
    hparams = {n: float(node.pop(n)) for n in ("learning_rate", "weight_decay") if node.get(n) is not None}
    takes = accepts(node, path="optim", trust=trust)
    update_rule = bind(node, path="optim", trust=trust)
    if takes.get("minibatch") is False and not whole:
        raise ConfigError(
            f"optim: {name} is for the loss of all training rows: set batch_size=all, or optim.minibatch=true"
        )
    offers: dict[str, Any] = {n: decayed for n in ("mask", "weight_decay_mask") if n in takes and n not in node}
    moved = tuple(rule for rule in rules if rule.freeze or rule.scale != 1)
    inside = bool(moved) and "rules" in takes
    offers |= {"rules": apply_rules(moved)} if inside else {}
    kept = tuple(replace(rule, scale=1.0) for rule in rules) if inside else rules  # what is frozen keeps its bits
    clips = [CLIPS[kind](size) for kind, size in (clip or {}).items()]
    decays = any(rule.decay != 1 for rule in rules)
    if decays and ("weight_decay" not in hparams or "rules" in takes):
        raise ConfigError(
            f"optim.rules: decay is a factor of optim.weight_decay, which {name} has not, or not apart"
        )

    def make(values: Mapping[str, Array]) -> optax.GradientTransformation:
        numbers = {n: values[n] for n in hparams}

        def with_decay(factor: float) -> optax.GradientTransformation:
            return update_rule(**{**numbers, "weight_decay": numbers["weight_decay"] * factor}, **offers)

        main = decay_by_rules(rules, with_decay) if decays else update_rule(**numbers, **offers)
        return optax.chain(*clips, main, *([apply_rules(kept)] if kept else []))

    if moved and needs(make({n: jnp.float32(v) for n, v in hparams.items()})) & set(ELSEWHERE):
        raise ConfigError(f"optim.rules: {name} moves all parameters together; freeze and scale do not go with it")
    return make, hparams


def _pieces(accumulate: int, batch_size: int) -> int:
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
        path, node = f"metrics.{name}", {k: v for k, v in full.items() if k not in schema.engine_keys("metrics")}
        plain = is_function(node, path=path, trust=trust)
        metrics[name] = (
            Average(bind(node, path=path, trust=trust)) if plain else build(node, path=path, trust=trust, spec=spec)
        )
        if full.get("better"):
            better[name] = full["better"]
    return metrics, better


def _chain(augmentations: list[Callable[[Batch, Array], Batch]]) -> Callable[[Batch, Array], Batch]:
    def augment(batch: Batch, key: Array) -> Batch:
        for i, one in enumerate(augmentations):
            batch = one(batch, jax.random.fold_in(key, i))
        return batch

    return augment


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
