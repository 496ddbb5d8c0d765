"""OmegaConf's nodes as plain values: resolved for the engine, as written for messages, as text to be saved."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from dltrain.errors import ConfigError

RESOLVER = re.compile(r"(?<!\\)\$\{\s*[\w.]+\s*:")
"""`${oc.env:HOME}` and the like, unlike `${optim.learning_rate}`."""


def resolve(raw: Any) -> dict[str, Any]:
    """Return plain values with every interpolation followed, or raise ConfigError naming the key, not the value."""
    from omegaconf import OmegaConf
    from omegaconf import errors as faults

    try:
        return OmegaConf.to_container(raw, resolve=True, throw_on_missing=True)  # ty: ignore[invalid-explicit-return]
    except faults.MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: must be given: {error.full_key}=...") from None
    except faults.OmegaConfBaseException as error:
        text = OmegaConf.to_container(raw, resolve=False)
        for part in (error.full_key or "").split("."):
            text = text.get(part, text) if isinstance(text, dict) else text
        text = text if isinstance(text, str) else "a ${...}"
        unset = re.search(r"Environment variable '(\w+)' not found", str(error))
        why = f"the environment variable {unset[1]} is not set" if unset else "cannot be resolved"
        why = "names no key" if isinstance(error, faults.InterpolationKeyError) else why
        raise ConfigError(f"{error.full_key}={text}: {why}") from None
    except RecursionError:
        raise ConfigError("a ${...} in the config leads back to itself") from None


def written(raw: Any) -> dict[str, Any]:
    """Return plain values with every interpolation as it was written: what may be shown."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(raw, resolve=False)  # ty: ignore[invalid-explicit-return]


def conceal(message: str, plain: Any, config: Any) -> str:
    """Put `${oc.env:TOKEN}` back where a message shows what it came to."""
    if isinstance(plain, dict) and isinstance(config, dict):
        pairs = [(plain[key], config[key]) for key in plain if key in config]
    elif isinstance(plain, list) and isinstance(config, list):
        pairs = list(zip(plain, config, strict=False))
    else:
        hidden = isinstance(plain, str) and RESOLVER.search(plain) and len(str(config)) > 3
        return message.replace(str(config), plain) if hidden else message
    for one, other in pairs:
        message = conceal(message, one, other)
    return message


def save(raw: Any) -> str:
    """Write YAML with plain interpolations followed, and those kept that ask outside the config (secrets do)."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    kept: dict[str, str] = {}

    def hide(text: str) -> str:
        if not RESOLVER.search(text):
            return text
        mark = f"kept-{uuid.uuid4().hex}"
        kept[mark] = text
        return mark

    def reveal(text: str) -> str:
        parts = re.split(r"(kept-[0-9a-f]{32})", text)
        return "".join(kept.get(p, p.replace("${", "\\${")) for p in parts)

    plain = written(raw)
    try:
        followed = OmegaConf.to_container(OmegaConf.create(_texts(plain, hide)), resolve=True)
    except OmegaConfBaseException:  # something refers to the inside of what is kept: keep everything as written
        return OmegaConf.to_yaml(OmegaConf.create(plain))
    return OmegaConf.to_yaml(OmegaConf.create(_texts(followed, reveal)))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
