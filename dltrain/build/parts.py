"""Config -> Parts: everything a run consists of. Layers below `build` do not see the config."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from flax import nnx

from dltrain.build.data import Data, describe_data, make_order, read_data
from dltrain.build.instantiate import bind, build, is_function
from dltrain.build.model import make_model, make_model_parts, make_objective_on, make_task
from dltrain.build.objective import make_objective, needed_scale
from dltrain.build.optimizer import make_optimizer, make_schedule
from dltrain.callbacks.plateau import Patience
from dltrain.config import schema
from dltrain.data.augment.chain import Chain
from dltrain.data.description import Description
from dltrain.data.order import Pipeline, in_order
from dltrain.data.preprocess import Preprocess
from dltrain.data.split import Splits
from dltrain.durations import Duration
from dltrain.engine.events import Callback
from dltrain.engine.state import OptimizerFactory
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.optimizers.rules import Rule
from dltrain.types import Array, Source, Spec

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Parts:
    """Everything a run consists of, built and checked."""

    spec: Spec  # after preprocessing
    raw_spec: Spec  # before `data.preprocess`
    source: Source
    arrays: dict[str, Any] | None  # the whole data set, unless it is streamed
    splits: Splits
    pipeline: Pipeline
    preprocess: Preprocess
    make_model: Callable[[nnx.Rngs], nnx.Module]
    objective: Objective
    optimizer: OptimizerFactory
    hparams: dict[str, float]  # hyperparameters that may differ between runs of one compiled program
    rules: tuple[Rule, ...]
    schedule: Callable[..., Array]
    augment: Chain
    metrics: dict[str, Any]
    accumulate: int  # microbatches per batch
    better: dict[str, str]  # metric -> "higher" or "lower"
    callbacks: list[tuple[Duration, Callback]]
    fitting_models: tuple[str, ...] = ()  # choices of model that suit the task, for messages
    plateau: Patience | None = None  # how the learning rate follows the monitored metric, if it does
    description: Description | None = None  # of the files that the data was read from
    in_batches: Callable[[np.ndarray, int], np.ndarray] = in_order  # (example numbers, B) -> batches for evaluation
    groups: np.ndarray | None = None  # int [N], which the splits keep whole
    begin: int = 0  # of its examples among the rows on the device, which several folds may share

    def described(self) -> dict[str, Any]:
        """Describe the data, which must be the same when the run is resumed."""
        return describe_data(self.source, self.splits, self.description)


def assemble(config: Config, trust: tuple[str, ...] = ()) -> Parts:
    """Read the data and build every part; errors in any part are raised here, before training."""
    data, objective = read_of(config, trust)
    return assemble_on(data, config, trust, objective)


def read_of(config: Config, trust: tuple[str, ...] = ()) -> tuple[Data, Objective]:
    """Read the data of a config, scaled as its loss and its task need it; return it with the loss."""
    task, objective = make_task(config, trust), make_objective(config, trust)
    return read_data(config, trust, task=task, needed=needed_scale(objective, config, task)), objective


def assemble_on(data: Data, config: Config, trust: tuple[str, ...], objective: Objective) -> Parts:
    """Build every part but the data, which was read before."""
    model = make_model_parts(config, trust, objective, data.spec, data.preprocess)
    pipeline, in_batches = make_order(config, data.source, data.splits, data.labels)
    per_epoch = pipeline.steps_per_epoch
    optimizer, hparams, rules = make_optimizer(config["optim"], trust, whole=per_epoch == 1)
    schedule, plateau = make_schedule(config["schedule"], per_epoch, trust)
    return Parts(
        **vars(model),
        raw_spec=data.spec,
        source=data.source,
        arrays=data.arrays,
        splits=data.splits,
        groups=data.groups,
        description=data.description,
        pipeline=pipeline,
        in_batches=in_batches,
        optimizer=optimizer,
        hparams={**hparams, **({"scale": 1.0} if plateau else {})},
        rules=rules,
        schedule=schedule,
        plateau=plateau,
        augment=make_augmentations(config["augment"], model.spec, model.preprocess, pipeline, trust),
        accumulate=_microbatches(config["optim"]["accumulate"], pipeline.batch_size),
        callbacks=_callbacks(config, trust),
        fitting_models=tuple(config["task"]["models"]),
    )


def with_numbers(parts: Parts, config: Config, trust: tuple[str, ...] = ()) -> Parts:
    """Return parts for a config that differs in its seed and in numbers that are leaves of the state.

    What is compiled stays the same: the seed decides on the order of the data.
    """
    _, hparams, _ = make_optimizer(config["optim"], trust, whole=parts.pipeline.steps_per_epoch == 1)
    same = config["seed"] == parts.pipeline.seed
    pipeline = parts.pipeline if same else replace(parts.pipeline, seed=config["seed"])
    numbers = {**parts.hparams, **hparams}
    return replace(parts, hparams=numbers, pipeline=pipeline, callbacks=_callbacks(config, trust))


def with_constants(parts: Parts, config: Config, trust: tuple[str, ...] = ()) -> Parts:
    """Return parts for a config that differs in numbers of any parts, each of which needs a program of its own."""
    own, per_epoch = with_numbers(parts, config, trust), parts.pipeline.steps_per_epoch
    optimizer, _, _ = make_optimizer(config["optim"], trust, whole=per_epoch == 1)
    schedule, plateau = make_schedule(config["schedule"], per_epoch, trust)
    return replace(
        own,
        make_model=partial(make_model, schema.split_node("model", config["model"])[0], trust, parts.spec),
        optimizer=optimizer,
        schedule=schedule,
        plateau=plateau,
        objective=make_objective_on(config, trust, parts.spec, parts.preprocess),
    )


def _microbatches(accumulate: int, batch_size: int) -> int:
    if batch_size % accumulate:
        near = max(n for n in range(1, min(accumulate, batch_size + 1)) if batch_size % n == 0)
        raise ConfigError(
            f"optim.accumulate={accumulate}: a batch of {batch_size} examples is not divisible by {accumulate}; "
            f"try optim.accumulate={near}"
        )
    return accumulate


def make_augmentations(
    nodes: Mapping[str, Any], spec: Spec, preprocess: Preprocess, pipeline: Pipeline, trust: tuple[str, ...]
) -> Chain:
    """Build the augmentation; functions that need the units of the data are given the scaling of the inputs."""
    injected: dict[str, Any] = {"spec": spec, **({"scaled_by": preprocess.scaling} if preprocess.scaling else {})}
    named = {
        name: bind(node, path=f"augment.{name}", trust=trust, **injected)
        for name, node in nodes.items()
        if name not in schema.group_keys("augment")
    }
    rest = nodes["off_for"] and Duration.parse(nodes["off_for"]).steps(pipeline.steps_per_epoch)
    return Chain(named, spec, off_for=rest or 0)


def _takes_event(callback: Any) -> bool:
    """Tell whether an object can be called with one argument."""
    if not callable(callback):
        return False
    try:
        inspect.signature(callback).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _callbacks(config: Config, trust: tuple[str, ...]) -> list[tuple[Duration, Callback]]:
    found = []
    for name, full in config["callbacks"].items():
        node = {k: v for k, v in full.items() if k != "every"}
        path = f"callbacks.{name}"
        plain = is_function(node, path=path, trust=trust)
        callback = bind(node, path=path, trust=trust) if plain else build(node, path=path, trust=trust)
        if not _takes_event(callback):
            raise ConfigError(
                f"{path}._target_={full['_target_']}: is not a callback: it cannot be called with an event"
            )
        try:
            found.append((Duration.parse(full.get("every", config["eval_every"])), callback))
        except ValueError as error:
            raise ConfigError(f"{path}.every={full['every']}: {error}") from error
    return found
