"""Prints a config instead of training: --cfg, --package and --info."""

import contextlib
import io
import logging
from collections.abc import Mapping
from typing import Any

from dltrain.composition.loader import run_hydra, search_path
from dltrain.composition.settings import compose_whole, decided_words
from dltrain.config.call import Composed
from dltrain.config.hints import nearest
from dltrain.config.request import Request
from dltrain.errors import ConfigError

CFG = ("job", "hydra", "all")


def show(request: Request, composed: Composed, flags: Mapping[str, str]) -> str:
    """Return the text that --cfg or --info prints.

    The config of the job is printed as it is saved: `auto` and interpolations resolved, except for oc.env, which
    may be a secret.
    """
    if "--info" in flags:
        return _info(request, composed, flags["--info"])
    kind = flags["--cfg"]
    if kind not in CFG:
        raise ConfigError(f"--cfg {kind}: must be one of {', '.join(CFG)}")
    text = composed.text if kind != "hydra" else ""
    if kind != "job":
        text += _hydra_text(request, composed)
    package = flags.get("--package")
    return text if package in (None, "_global_") else _inside(text, str(package))


def _hydra_text(request: Request, composed: Composed) -> str:
    from omegaconf import OmegaConf

    whole = compose_whole(decided_words(request, composed), request.folders)
    node: Any = OmegaConf.to_container(whole.hydra, resolve=False)
    return OmegaConf.to_yaml({"hydra": {k: v for k, v in node.items() if k not in ("help", "hydra_help")}})


def _inside(text: str, package: str) -> str:
    from omegaconf import OmegaConf

    config = OmegaConf.create(text)
    found = OmegaConf.select(config, package)
    if found is None:
        raise ConfigError(f"--package {package}: the config has no such node{nearest(package, map(str, config))}")
    body = OmegaConf.to_yaml(found) if OmegaConf.is_config(found) else f"{found}\n"
    return f"# @package {package}\n{body}" if OmegaConf.is_config(found) else body


def _info(request: Request, composed: Composed, what: str) -> str:
    """Return Hydra's view of its plugins, search path, defaults and config."""
    root, answer = logging.getLogger(), io.StringIO()
    before = root.level, list(root.handlers)
    words = decided_words(request, composed)
    try:
        with contextlib.redirect_stdout(answer):
            run_hydra(request.folders, lambda _: None, f"--info={what}", *words, *search_path(request.folders))
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    return answer.getvalue()
