"""Other data than a run was trained on, such as a further file, as its model takes it: nothing is fitted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.build.data import Data, is_stateful, open_source, read_resident
from dltrain.build.objective import make_objective
from dltrain.build.parts import Parts, assemble_on
from dltrain.build.saved import SavedModel
from dltrain.data.description import Description, where_of
from dltrain.data.preprocess import Offset
from dltrain.data.preprocess.pipeline import array_spec
from dltrain.data.preprocess.prepared import Changed, prepared
from dltrain.data.preprocess.step import has_host
from dltrain.data.scan import read_targets
from dltrain.data.split import Splits
from dltrain.errors import ConfigError, DataError
from dltrain.types import Feature, Kind, Source, Spec

UNDIVIDED = {"test_path": None, "validation_path": None, "borders": None, "stride": 1}
"""Arguments of a source that divide the data into splits, with the values that do not."""


@dataclass(frozen=True)
class OtherData:
    """Examples in the form of the training data, and what was found in their files."""

    source: Source
    description: Description | None


def open_other(config: Mapping[str, Any], trust: tuple[str, ...], saved: SavedModel) -> OtherData:
    """Open the data that a config names, encoded as that of the run was.

    Args:
        config: that of the run, with another data.path.
        trust: packages of the user's own parts.
        saved: the spec and the fitted preprocessing of the run.

    Raises:
        DataError: it cannot be read, or has not the form of the training data.
        ConfigError: sources of this kind cannot be encoded by what was fitted before.
    """
    node = {name: UNDIVIDED.get(name, value) for name, value in config["data"].items()}
    given = {"task": saved.spec.task, "stateful": is_stateful(config), "validation": 0.0, "test": 0.0}
    source: Any = open_source(node, trust, **given, for_evaluation=True)
    found = source.describe_files() if hasattr(source, "describe_files") else None
    if hasattr(source, "encode"):
        if not hasattr(source, "encode_by"):
            raise ConfigError(
                f"data.path: {type(source).__name__} encodes its examples, but has no encode_by(encoder), so other "
                "data than that of the run cannot be evaluated"
            )
        try:
            source = source.encode_by(saved.preprocess.encoder)
        except DataError as error:
            raise DataError(f"data.path={node['path']}: {error}") from error
    _check_features(source.spec, saved.spec)
    source = _as_trained(source, saved.spec)
    steps = [step for chain in saved.preprocess.inputs.values() for step in chain.steps]
    if any(has_host(step) or isinstance(step, Offset) for step in steps):
        source = prepared(source, saved.preprocess, array_spec(saved.spec, saved.preprocess))
    return OtherData(source, found)


def assemble_other(other: OtherData, config: Mapping[str, Any], trust: tuple[str, ...], saved: SavedModel) -> Parts:
    """Build the parts of a run around other data, all of whose examples are in each of the splits."""
    plain = {**config, "limit_batches": None, "overfit_batches": 0}
    plain["data"] = {**config["data"], "sampling": "uniform"}
    arrays = read_resident(other.source, config["data"]["feed"])
    targets = read_targets(other.source) if arrays is None else arrays["targets"]
    saved.spec.task.check_targets(targets, saved.spec)
    every, spec = np.arange(len(other.source), dtype=np.int32), saved.spec
    if spec.has_labels:  # metrics that keep all scores need room for them
        counts = tuple(np.bincount(targets, minlength=len(spec.classes)).tolist())
        spec = replace(spec, counts={**spec.counts, "other": counts})
    splits = Splits(every, every, every)
    data = Data(spec, other.source, arrays, splits, saved.preprocess, description=other.description)
    return assemble_on(data, plain, trust, make_objective(config, trust))


def _check_features(found: Spec, trained: Spec) -> None:
    """Raise DataError unless examples have the features of the training data; names of classes may differ."""
    for part in ("inputs", "targets", "for_loss"):
        mine, theirs = getattr(found, part), getattr(trained, part)
        if lost := sorted(set(theirs) - set(mine)):
            raise DataError(f"the data has no {part} {lost[0]}, which the training data has")
        for name, feature in theirs.items():
            if (here := mine[name]).shape != feature.shape or here.kind is not feature.kind:
                raise DataError(
                    f"{part}: {name}: found {here.kind} {list(here.shape)}, expected {feature.kind} "
                    f"{list(feature.shape)} as in the training data"
                )
            if feature.names and here.names != feature.names:
                raise DataError(
                    f"{part}: {name}: found the columns {', '.join(here.names)}, expected "
                    f"{', '.join(feature.names)} as in the training data"
                )
    for name, feature in trained.inputs.items():
        if feature.kind is Kind.TOKENS and found.inputs[name].vocabulary != feature.vocabulary:
            raise DataError(f"inputs: {name}: the texts have other tokens than the training data")


def _as_trained(source: Any, spec: Spec) -> Any:
    """Return the source with the classes numbered as in training."""
    feature, numbers = next(iter(spec.targets.values()), None), None
    if len(spec.targets) == 1 and feature is not None and feature.kind is Kind.CATEGORY:
        numbers = _numbers(source, feature, next(iter(source.spec.targets.values())))

    def change(found: dict[str, Any]) -> dict[str, Any]:
        return found if numbers is None else {**found, "targets": numbers[found["targets"]]}

    return Changed(source, spec, change, published={})


def _numbers(source: Any, trained: Feature, found: Feature) -> np.ndarray | None:
    """Return the number in training of each class of the source, int32 [K]; None if these are equal."""
    if found.vocabulary == trained.vocabulary:
        return None
    known = {name: number for number, name in enumerate(trained.vocabulary)}
    numbers = np.array([known.get(name, -1) for name in found.vocabulary], np.int32)
    if (numbers < 0).any():
        targets = np.asarray(read_targets(source)).reshape(len(source), -1)
        unknown = (numbers[targets] < 0).any(1)
        if unknown.any():
            first = int(np.argmax(unknown))
            name = found.vocabulary[int(targets[first][numbers[targets[first]] < 0][0])]
            few = ", ".join(trained.vocabulary[:5]) + ", ..." * (len(trained.vocabulary) > 5)
            raise DataError(
                f"{where_of(source, first)}: its class {name} was not among those of training ({few}); "
                f"{int(unknown.sum()):,} of {len(source):,} examples have such a class"
            )
    return numbers
