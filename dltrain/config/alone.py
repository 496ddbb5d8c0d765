"""The config of a run without the processes that trained it: these are of one start, and each has another index."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dltrain.config.call import Composed

OF_A_START: Mapping[str, Any] = {"hosts": None, "elastic": False}
"""Keys of `runtime` that are not saved with a run, with the values that stand there instead."""


def without_hosts(composed: Composed) -> Composed:
    """Return the config with `runtime.hosts: null` and `runtime.elastic: false`, in values and text."""
    from omegaconf import OmegaConf

    config = composed.config
    if all(config["runtime"][key] == value for key, value in OF_A_START.items()):
        return composed
    raw = OmegaConf.create(composed.text)
    raw.runtime.update(OF_A_START)
    runtime = {**config["runtime"], **OF_A_START}
    return replace(composed, config={**config, "runtime": runtime}, text=OmegaConf.to_yaml(raw))
