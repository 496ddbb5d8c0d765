"""Config and spec -> the parts of a trained model besides its weights; none of them needs the data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flax import nnx

from dltrain.build.imbalance import with_class_weights
from dltrain.build.instantiate import bind, build, is_function
from dltrain.build.locate import locate
from dltrain.build.objective import make_objective, with_output_activation
from dltrain.config import schema
from dltrain.data.preprocess import Preprocess
from dltrain.data.preprocess.pipeline import model_spec
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.metrics import Average, coverage
from dltrain.models.reshaped import Reshaped
from dltrain.tasks import Task
from dltrain.types import Array, Kind, Spec

Config = Mapping[str, Any]

DEEPEST = 200  # layers or blocks: tracing takes time with the square of their number


@dataclass(frozen=True)
class ModelParts:
    """The model, its preprocessing, loss and metrics."""

    spec: Spec  # after preprocessing
    preprocess: Preprocess
    make_model: Callable[[nnx.Rngs], nnx.Module]
    objective: Objective
    metrics: dict[str, Any]
    better: dict[str, str]  # metric -> "higher" or "lower"


def make_model_parts(
    config: Config, trust: tuple[str, ...], objective: Objective, spec: Spec, preprocess: Preprocess
) -> ModelParts:
    """Build the parts that depend on the data only through its spec and the fitted preprocessing."""
    spec = model_spec(spec, preprocess)
    objective = with_class_weights(objective, spec)
    objective, preprocess = with_output_activation(objective, preprocess, config, spec, trust)
    model, _ = schema.split_node("model", config["model"])
    _check_depth(model)
    metrics, better = _metrics(config["metrics"], spec, trust)
    return ModelParts(
        spec=spec,
        preprocess=preprocess,
        make_model=partial(make_model, model, trust, spec),
        objective=objective,
        metrics=metrics,
        better=better,
    )


def make_objective_on(
    config: Config,
    trust: tuple[str, ...],
    spec: Spec,
    preprocess: Preprocess,
    numbers: Mapping[str, Any] | None = None,
    class_weights: Array | None = None,
) -> Objective:
    """Build the objective for spec and preprocessing of built parts; `class_weights` [K] are the balanced ones."""
    objective = with_class_weights(make_objective(config, trust, numbers), spec, class_weights)
    return with_output_activation(objective, preprocess, config, spec, trust)[0]


def _check_depth(model: Mapping[str, Any]) -> None:
    """Raise ConfigError for a model of so many layers that tracing and compiling it would take hours.

    A list (widths, channels) has an item for each layer or stage; `layers` and `blocks` are numbers of them.
    """
    for name, value in model.items():
        depth = len(value) if isinstance(value, list) else 0
        if name in ("layers", "blocks"):
            numbers = value if isinstance(value, list) else [value]
            depth = max(depth, sum(number for number in numbers if isinstance(number, int)))
        if depth > DEEPEST:
            raise ConfigError(
                f"model.{name}: {depth:,} layers would take hours to compile; at most {DEEPEST} may be given"
            )


def make_task(config: Config, trust: tuple[str, ...]) -> Task:
    """Build the task; a list of quantiles of the loss (`loss.q`) is part of it."""
    q = (config.get("loss") or {}).get("q")
    quantiles = tuple(q) if isinstance(q, list | tuple) else ()
    return build(schema.split_node("task", config["task"])[0], path="task", trust=trust, quantiles=quantiles)


def make_model(
    node: Mapping[str, Any],
    trust: tuple[str, ...],
    spec: Spec,
    rngs: nnx.Rngs,
    numbers: Mapping[str, float] | None = None,
) -> nnx.Module:
    """Build a model that has the outputs of the task; `numbers` take the place of arguments, as in `build`."""
    model = build(node, path="model", trust=trust, numbers=numbers, spec=spec, rngs=rngs)
    shape = spec.task.output_shape(spec)
    return Reshaped(model, shape) if shape and not getattr(model, "returns_shape", False) else model


def _metrics(nodes: Mapping[str, Any], spec: Spec, trust: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    metrics, better = {}, {"loss": "lower"}
    for name, full in nodes.items():
        path, node = f"metrics.{name}", schema.split_node("metrics", full)[0]
        _check_metric(node, spec, path, trust)
        plain = is_function(node, path=path, trust=trust)
        metrics[name] = (
            Average(bind(node, path=path, trust=trust)) if plain else build(node, path=path, trust=trust, spec=spec)
        )
        if full.get("better"):
            better[name] = full["better"]
    if spec.task.quantiles and nodes and "coverage" not in metrics:
        metrics["coverage"] = Average(coverage)
    return metrics, better


def _check_metric(node: Mapping[str, Any], spec: Spec, path: str, trust: tuple[str, ...]) -> None:
    """Raise ConfigError for a metric of classes if the targets are none."""
    target = locate(node["_target_"], path=path, trust=trust)
    if spec.task.target_kind not in (Kind.CATEGORY, Kind.TOKENS) and getattr(target, "of_classes", False):
        try:
            spec.task.classes(spec)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
