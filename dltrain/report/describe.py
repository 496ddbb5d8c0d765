"""A run described in TensorBoard: its config as text, its modules as a graph, its hyperparameters."""

import contextlib
import functools
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dltrain.build.program import Program
from dltrain.runs.recorder import Recorder

HPARAMS = ("seed", "batch_size", "epochs", "steps")
GROUPS = ("data", "model", "loss", "optim", "schedule")


def describe(
    recorder: Recorder,
    program: Program,
    *,
    graph: Any,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    text: str,
    swept: Sequence[str] = (),
) -> None:
    """Write what is known before the first step.

    `graph` is the GraphDef of the model, `swept` are the overrides in which the jobs of a sweep differ.
    """
    writer, monitor = recorder.writer(), program.plan.monitor
    writer.text(0, "config", f"```yaml\n{_without_nulls(text)}```")
    writer.graph(graph)
    writer.hparams(hparams(config, choices, swept))
    splits = "(train|validation)"
    charts = {"loss": f"loss/{splits}"}
    if monitor and monitor.name != "loss":
        charts[monitor.name] = f"monitored/{re.escape(monitor.name)}/{splits}"
    writer.layout(charts)


def hparams(config: Mapping[str, Any], choices: Mapping[str, str], swept: Sequence[str]) -> dict[str, Any]:
    """Return the hyperparameters of a run: what its sweep varies, and what one may vary."""
    varied = {key: _value(value) for key, _, value in (word.partition("=") for word in swept)}
    return varied | _hparams(config, choices)


def _value(text: str) -> bool | float | str:
    """Return a typed value as a truth value or a number, if it is one."""
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text


def _without_nulls(text: str) -> str:
    """Return the YAML of a config without the keys that are not set.

    It is that of its items in turn, most of which are the same in all jobs of a sweep.
    """
    config = _set(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return "".join(_to_yaml(pickle.dumps({key: value})) for key, value in config.items())


@functools.lru_cache(maxsize=1024)
def _to_yaml(item: bytes) -> str:
    return yaml.safe_dump(pickle.loads(item), sort_keys=False, allow_unicode=True, width=100)


def _set(node: Any) -> Any:
    if isinstance(node, Mapping):
        found = {key: _set(value) for key, value in node.items() if value is not None}
        return {key: value for key, value in found.items() if value != {} or node[key] == {}}
    return node


def _hparams(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """Return what a sweep may vary: the choices, and every option of model, loss, optimizer and schedule."""
    found: dict[str, Any] = {g: choices[g] for g in GROUPS if g in choices}
    found |= {name: config[name] for name in HPARAMS if config.get(name) is not None}
    for group in ("model", "loss", "optim", "schedule"):
        for name, value in config[group].items():
            if name not in ("_target_", "tasks") and value is not None:
                found[f"{group}.{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
