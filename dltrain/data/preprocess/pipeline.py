"""The fitted steps of all features: what is done to a batch before the model, and undone before the metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp

from dltrain.data.preprocess.scale import Affine
from dltrain.data.preprocess.step import Chain, Encoder, Locate, described, has_graph, has_host, named_json
from dltrain.errors import ConfigError
from dltrain.types import Array, Batch, Spec


@dataclass(frozen=True, eq=False)  # equal only to itself, so that compiled functions can be found by it
class Preprocess:
    """Fitted steps by the names of inputs and targets, and how outputs return to the units of the data.

    Inputs never need targets. `encoder` turns records (rows of a table, texts) into the arrays of the inputs,
    before their steps. `reconstructs` says that the targets are the scaled inputs; `final` is applied to outputs
    before metrics see them. `quantiles` says that outputs have a further axis, behind those of the targets.
    `standardised_metrics` says that metrics see scaled targets and outputs instead of the units of the data.
    """

    inputs: Mapping[str, Chain]
    targets: Mapping[str, Chain] = field(default_factory=dict)
    reconstructs: bool = False
    final: Callable[[Array], Array] | None = None
    encoder: Encoder | None = None
    quantiles: bool = False
    standardised_metrics: bool = False

    def encode(self, records: Any) -> Any:
        """Turn records into the arrays of the inputs; without an encoder, and for such arrays, change nothing."""
        return self.encoder.encode(records) if self.encoder else records

    def host(self, inputs: Any) -> Any:
        """Apply the host halves to inputs, [N, ...] or a dict of them by name."""
        return _each(self.inputs, inputs, Chain.host)

    def scaled(self, batch: Batch) -> dict[str, Any]:
        """Return the batch as augmentation and loss see it; a batch without targets has none afterwards either."""
        scaled = {**batch, "inputs": _each(self.inputs, batch["inputs"], Chain.forward)}
        if "targets" in batch:
            scaled["targets"] = _each(self.targets, batch["targets"], Chain.forward)
        if self.reconstructs:  # before augmentation: noise is to be taken away
            scaled["targets"] = self._content(scaled["inputs"])
        return scaled

    def outputs(self, outputs: Any) -> Any:
        """Return the outputs in the units of the data."""
        outputs = self.final(outputs) if self.final else outputs
        if self.quantiles:  # steps apply to the last axis of the targets
            return jnp.moveaxis(_each(self.targets, jnp.moveaxis(outputs, -1, 1), Chain.inverse), 1, -1)
        return _each(self.targets, outputs, Chain.inverse)

    def metric_outputs(self, outputs: Any) -> Any:
        """Return the outputs as metrics see them."""
        if self.standardised_metrics:
            return self.final(outputs) if self.final else outputs
        return self.outputs(outputs)

    def measured_targets(self, targets: Any) -> Any:
        """Return targets in the units of the data as metrics see them."""
        scaled = self.scales_targets and self.standardised_metrics
        return _each(self.targets, targets, Chain.forward) if scaled else targets

    def measured_predictions(self, outputs: Any) -> Any:
        """Return predictions in the units of the data as metrics see them; quantiles are on the last axis."""
        if not self.quantiles:
            return self.measured_targets(outputs)
        return jnp.moveaxis(self.measured_targets(jnp.moveaxis(outputs, -1, 1)), 1, -1)

    def raw_content(self, x: Any) -> Any:
        """Return generated inputs (samples, reconstructions) in the units of the data."""
        return _each(self.inputs, x, Chain.inverse)

    def _content(self, inputs: Any) -> Any:
        """Return the one input that has steps, which is the one with content."""
        return next(inputs[name] for name in self.inputs) if isinstance(inputs, Mapping) else inputs

    def metric_batch(self, raw: Batch, scaled: Batch) -> Batch:
        """Return the batch that metrics compare `outputs` with: targets in the units of the data, or mixed ones."""
        in_units = self.scales_targets and not self.standardised_metrics
        return raw if in_units else {**raw, "targets": scaled["targets"]}

    @property
    def scales_targets(self) -> bool:
        """Whether the loss sees other targets than the metrics."""
        return any(self.targets.values())

    @property
    def scaling(self) -> Affine | None:
        """The scaling of the one input that has any; None for tokens."""
        return _last_affine(self.inputs)

    @property
    def target_scaling(self) -> Affine | None:
        """The scaling of a regression's target, if there is any."""
        return _last_affine(self.targets)

    def to_json(self) -> dict[str, Any]:
        """Return every fitted step, to be kept with the run."""
        sides = {"inputs": self.inputs, "targets": self.targets}
        steps = {side: {name: chain.to_json() for name, chain in chains.items()} for side, chains in sides.items()}
        more: dict[str, Any] = {"standardised_metrics": True} if self.standardised_metrics else {}
        return steps | more | ({"encoder": named_json(self.encoder)} if self.encoder else {})

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], locate: Locate, **about: Any) -> "Preprocess":
        """Rebuild the fitted steps; `about` holds the other arguments, which follow from the config.

        Raises:
            ConfigError: a step is of a class that may not be named.
            KeyError, TypeError, ValueError: this is not what `to_json` returns.
        """
        inputs, targets = (
            {name: Chain.from_json(chain, locate) for name, chain in saved[side].items()}
            for side in ("inputs", "targets")
        )
        encoder = None
        if saved.get("encoder"):
            found = locate(saved["encoder"]["_target_"])
            if lost := [name for name in ("encode", "to_json", "from_json") if not hasattr(found, name)]:
                raise ConfigError(f"{saved['encoder']['_target_']}: is not an encoder: it has no {', '.join(lost)}")
            encoder = found.from_json(saved["encoder"]["fitted"])
        standardised = bool(saved.get("standardised_metrics", False))
        return cls(inputs, targets, encoder=encoder, standardised_metrics=standardised, **about)


def model_spec(spec: Spec, preprocess: Preprocess) -> Spec:
    """Return the spec of the examples as the model is given them; `spec` is that of the raw ones."""
    return _described(spec, preprocess, lambda step: True)


def array_spec(spec: Spec, preprocess: Preprocess) -> Spec:
    """Return the spec of the arrays behind the host halves; `spec` is that of the raw examples."""
    return _described(spec, preprocess, has_host)


def _described(spec: Spec, preprocess: Preprocess, counts: Callable[[Any], bool]) -> Spec:
    changed = {
        name: described([step for step in chain.steps if counts(step)], spec.inputs[name])
        for name, chain in preprocess.inputs.items()
    }
    return replace(spec, inputs={**spec.inputs, **changed})


def _each(chains: Mapping[str, Chain], values: Any, apply: Callable[[Chain, Any], Any]) -> Any:
    """Apply each chain to the values of its name; the one chain with steps to a single array."""
    if isinstance(values, Mapping):
        return {name: apply(chains[name], value) if name in chains else value for name, value in values.items()}
    filled = {name: chain for name, chain in chains.items() if chain}
    if len(filled) > 1:
        raise ConfigError(f"inputs: expected a dict with {', '.join(filled)}, found a single array")
    for chain in filled.values():
        values = apply(chain, values)
    return values


def _last_affine(chains: Mapping[str, Chain]) -> Affine | None:
    graph = [[step for step in chain.steps if has_graph(step)] for chain in chains.values()]
    found = [steps[-1] for steps in graph if steps and isinstance(steps[-1], Affine)]
    return found[0] if len(found) == 1 else None
