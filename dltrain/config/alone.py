"""The config of a run without the processes that trained it: these are of one start, and each has another index."""

from dataclasses import replace

from dltrain.config.call import Composed


def without_hosts(composed: Composed) -> Composed:
    """Return the config with `runtime.hosts: null`, in values and text."""
    from omegaconf import OmegaConf

    config = composed.config
    if config["runtime"]["hosts"] is None:
        return composed
    raw = OmegaConf.create(composed.text)
    raw.runtime.hosts = None
    runtime = {**config["runtime"], "hosts": None}
    return replace(composed, config={**config, "runtime": runtime}, text=OmegaConf.to_yaml(raw))
