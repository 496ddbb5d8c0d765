"""OmegaConf's nodes as plain values: resolved for the engine, as written for messages, as text to be saved."""

import contextlib
import functools
import pickle
import re
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from dltrain.config.folders import MAX_REFERENCES
from dltrain.errors import ConfigError

RESOLVER = re.compile(r"(?<!\\)\$\{\s*[\w.]+\s*:")
"""`${oc.env:HOME}` and the like, unlike `${optim.learning_rate}`."""

REFERENCE = re.compile(r"\$\{\s*([\w.\[\]-]+)\s*\}")
ALLOWED = re.compile(rf"{REFERENCE.pattern}|\$\{{\s*(oc\.decode\s*:\s*\$\{{\s*)?oc\.env\s*:")
MAX_EXPANDED = 1_000_000  # characters of a config with every reference written out


def check_references(raw: Any) -> None:
    """Raise ConfigError for a ${...} that computes, and for references that grow like 2, 4, 8, ... when resolved.

    Called before references are resolved. Allowed are `${key}`, `${oc.env:NAME}` and
    `${oc.decode:${oc.env:NAME}}`.
    """
    leaves = dict(leaf_values(written(raw)))
    sizes: dict[str, int] = {}

    def size(path: str) -> int:
        if path not in sizes:
            sizes[path] = 0  # of a circular reference, which OmegaConf detects
            text = str(leaves[path])
            found = [leaf for name in REFERENCE.findall(text) for leaf in reached(_absolute(name, path))]
            sizes[path] = max(1, len(text)) + sum(size(leaf) for leaf in found)
        if sizes[path] > MAX_EXPANDED:
            raise ConfigError(f"{path}: its references expand to more than {MAX_EXPANDED:,} characters")
        return sizes[path]

    def reached(name: str) -> list[str]:
        """List the leaves at or under a key, else the one that it leads through."""
        inside = [leaf for leaf in leaves if leaf == name or leaf.startswith(f"{name}.")]
        return inside or [leaf for leaf in leaves if name.startswith(f"{leaf}.")]

    for path, value in leaves.items():
        if len(ALLOWED.sub("", str(value)).split("${")) > 1:
            raise ConfigError(f"{path}={value}: ${{...}} may hold a key of the config or oc.env:NAME")
    count = sum(str(value).count("${") for value in leaves.values())
    if count > MAX_REFERENCES or sum(size(path) for path in leaves) > MAX_EXPANDED:
        raise ConfigError(
            f"the config has more than {MAX_REFERENCES} references, or they expand to more than "
            f"{MAX_EXPANDED:,} characters"
        )


def leaf_values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of each leaf of nested mappings and lists."""
    if isinstance(value, Mapping | list):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from leaf_values(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _absolute(name: str, path: str) -> str:
    """Write `.key`, `..key` and `list[0]` of the leaf at `path` as a key from the top."""
    up = len(name) - len(name.lstrip("."))
    parents = path.split(".")[:-up] if up else []
    return ".".join([*parents, *re.split(r"[.\[\]]+", name.strip(".]"))])


def resolve(raw: Any) -> dict[str, Any]:
    """Return plain values with every interpolation resolved, or raise ConfigError naming the key, not the value."""
    from omegaconf import OmegaConf

    with references(raw):
        return OmegaConf.to_container(raw, resolve=True, throw_on_missing=True)  # ty: ignore[invalid-explicit-return]


@contextlib.contextmanager
def references(raw: Any) -> Generator[None]:
    """Turn what OmegaConf raises for a ${...} of `raw` that leads nowhere into a ConfigError with the key."""
    from omegaconf import errors as faults

    try:
        yield
    except faults.MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: must be given: {error.full_key}=...") from None
    except faults.OmegaConfBaseException as error:
        leaves = dict(leaf_values(written(raw)))
        unset = re.search(r"Environment variable '(\w+)' not found", str(error))
        why = f"the environment variable {unset[1]} is not set" if unset else "cannot be resolved"
        why = "names no key" if isinstance(error, faults.InterpolationKeyError) else why
        found = [key for key, text in leaves.items() if "${" in str(text) and (not unset or unset[1] in text)]
        key = error.full_key if error.full_key in leaves or not found else found[0]
        raise ConfigError(f"{key}={leaves.get(key, 'a ${...}')}: {why}") from None
    except RecursionError:
        raise ConfigError("a ${...} in the config refers to itself") from None


def written(raw: Any) -> dict[str, Any]:
    """Return plain values with every interpolation as it was written: what may be shown."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(raw, resolve=False)  # ty: ignore[invalid-explicit-return]


def has_references(plain: Mapping[str, Any]) -> bool:
    """Tell whether a value, as it is written, has a ${...} in it, escaped or not."""
    return any("${" in str(value) for _, value in leaf_values(plain))


def conceal(message: str, plain: Any, config: Any) -> str:
    """Replace the values of environment variables in a message by `${oc.env:TOKEN}`."""
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
    """Return YAML with references to keys resolved; those to the environment are kept: they may be secrets."""
    return to_yaml(followed(raw, escape=lambda text: text.replace("${", "\\${")))


def to_yaml(config: Mapping[str, Any]) -> str:
    """Format plain values as OmegaConf does.

    YAML of a mapping is that of its items in turn, and jobs of a sweep differ in one or two of them.
    """
    return "".join(_item_to_yaml(pickle.dumps({key: value})) for key, value in config.items()) or "{}\n"


@functools.lru_cache(maxsize=1024)
def _item_to_yaml(item: bytes) -> str:
    """Format a pickled mapping. A pickle, unlike `==`, tells 1 from 1.0 and True."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(pickle.loads(item)))


def followed(raw: Any, *, escape: Callable[[str], str] = lambda text: text) -> dict[str, Any]:
    """Return plain values with plain interpolations followed, and those kept that ask outside the config.

    `escape` changes the text between these.
    """
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
        return "".join(kept[p] if p in kept else escape(p) for p in parts)

    plain = written(raw)
    if not has_references(plain):
        return plain
    try:
        found = OmegaConf.to_container(OmegaConf.create(_texts(plain, hide)), resolve=True)
    except OmegaConfBaseException:  # a reference leads into a kept value: keep everything as written
        return plain
    return _texts(found, reveal)


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
