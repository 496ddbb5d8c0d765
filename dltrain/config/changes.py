"""Which keys of a run's config may change after it has trained, and how two configs differ.

Configs are compared as they are saved: `auto` decided, `${oc.env:NAME}` as written.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dltrain.config.folders import parse_yaml, read_yaml
from dltrain.config.hints import show
from dltrain.errors import ConfigError

MAY_CHANGE = (
    "epochs",
    "steps",
    "examples",
    "log_every",
    "eval_every",
    "eval_batch_size",
    "checkpoint_every",
    "keep_every",
    "monitor",
    "early_stopping",
    "stop",
    "output_dir",
    "overwrite",
    "name",
    "tags",
    "trust",
    "quiet",
    "profile",
    "dry_run",
    "on_nonfinite",
    "sweep",
    "metrics",
    "callbacks",
    "data.path",
    "data.root",
    "data.mirrors",
    "data.feed",
    "data.threads",
    "data.timeout",
    "runtime.platform",
    "runtime.threads",
    "runtime.deterministic",
    "runtime.cache",
    "runtime.ops",
    "runtime.matmul",
    "runtime.mesh",
    "runtime.rules",
    "runtime.hosts",
    "runtime.heartbeat",
    "runtime.elastic",
    "model.remat",
    "schedule.stretch",
    "optim.learning_rate",
    "optim.weight_decay",
)
"""Keys that a resumed run may change. Where data is found may change, since its content is compared."""

PLACES = ("data.path", "data.root", "data.labels", "data.image.folder")
"""Keys that say where data is: to evaluate a model on other data."""

EVALUATED = (*MAY_CHANGE, *PLACES, "runtime", "optim.ema", "loss")
"""Keys that may be set to evaluate a model: they leave what its weights were trained for as it is."""

NEW_RUN = "start a new run, with init_from=RUN to start from the weights of this one"
"""What to do about a change that a run does not allow."""

NEEDED = ("data", "model")  # parts that every run's config has

ENVIRONMENT = re.compile(r"oc\.env\s*:\s*(\w+)")


def read_saved(path: Path) -> dict[str, Any]:
    """Read the config of a run, or raise ConfigError if it is not one."""
    saved = read_yaml(path)
    for group in NEEDED:
        if not isinstance(saved.get(group), Mapping):
            raise ConfigError(f"{path}: {group}: must be keys with their values; this is not the config of a run")
    return saved


def leaves(config: Mapping[str, Any]) -> dict[str, str]:
    """Return every key of a config, `_target_` included, with its value as JSON."""
    return {key: json.dumps(value, default=str, sort_keys=True) for key, value in walk(config)}


def walk(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of a config with its value."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from walk(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return the keys that differ between two results of `leaves`: key -> `key: old -> new`."""
    keys = [key for key in {**before, **after} if not _equal(before.get(key), after.get(key))]
    filled = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)}  # {} that got keys
    keys = [key for key in keys if key not in filled]
    return {key: f"{key}: {_shown(before, key)} -> {_shown(after, key)}" for key in keys}


def typed_changes(saved: Mapping[str, Any], composed: Mapping[str, Any], words: Collection[str]) -> dict[str, str]:
    """Return what overrides change of a saved config, not keys that an older dltrain lacks: key -> change."""
    typed = [word.partition("=")[0].lstrip("+~") for word in words]
    return {
        key: change for key, change in differing(leaves(saved), leaves(composed)).items() if may_change(key, typed)
    }


def allowed_changes(saved: Mapping[str, Any], text: str, words: Collection[str] | None = None) -> list[str]:
    """List what a config, as it would be saved, changes of that of a run that is to go on.

    Args:
        saved: the config of the run.
        text: the config to go on with.
        words: the overrides, as typed; only what they change counts. None: every key counts.

    Raises:
        ConfigError: a key changed that determines the result.
    """
    composed = parse_yaml(text)
    everything = differing(leaves(saved), leaves(composed))
    changes = everything if words is None else typed_changes(saved, composed, words)
    for key in changes:
        if not may_change(key):
            raise ConfigError(f"{of_part(changes, key)}: a run keeps its {kept_part(key)}; {NEW_RUN}")
    return list(changes.values())


def may_change(key: str, allowed: Collection[str] = MAY_CHANGE) -> bool:
    """Tell whether a key, or the node that holds it, is among `allowed`."""
    return any(key == may or key.startswith(f"{may}.") for may in allowed)


def kept_part(key: str) -> str:
    """Name what a run keeps if this key may not change: the whole part, or the key itself."""
    group = key.split(".")[0]
    whole = key.endswith("._target_") or group in ("data", "model", "loss", "schedule", "augment")
    return group if whole else key


def of_part(changes: Mapping[str, str], key: str) -> str:
    """Return the change to report for a key: that of its part, if another part was chosen, says more."""
    return changes.get(f"{key.split('.')[0]}._target_", changes[key])


def check_evaluated(saved: Mapping[str, Any], text: str, words: Collection[str]) -> None:
    """Raise ConfigError if an override changes what the weights of a run were trained for.

    Args:
        saved: the config of the run.
        text: the config with the overrides, as it would be saved.
        words: the overrides, as typed.
    """
    composed = parse_yaml(text)
    changes = typed_changes(saved, composed, words)
    for key in changes:
        if not may_change(key, EVALUATED):
            raise ConfigError(
                f"{of_part(changes, key)}: the weights were trained with the first; a run is evaluated with the "
                f"{kept_part(key)} that it was trained with"
            )
    if "optim.ema" in changes and composed["optim"]["ema"] is not None:
        raise ConfigError(f"{changes['optim.ema']}: only null can be set here, to evaluate the weights themselves")


def names_other_data(saved: Mapping[str, Any], text: str) -> bool:
    """Tell whether a config, as it would be saved, names data at another place than the config of the run."""
    before, after = leaves(saved), leaves(parse_yaml(text))
    return any(may_change(key, PLACES) and key in before for key in differing(before, after))


def environment_of(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the environment variables that a config refers to: name -> keys."""
    found: dict[str, list[str]] = {}
    for key, value in leaves(config).items():
        for name in ENVIRONMENT.findall(value):
            found.setdefault(name, []).append(key)
    return found


def _equal(one: str | None, other: str | None) -> bool:
    """Compare values as JSON, None for a missing key: 0 is 0.0, and NaN is NaN."""
    return one == other or (one is not None and other is not None and json.loads(one) == json.loads(other))


def _shown(values: Mapping[str, str], key: str) -> str:
    return show(json.loads(values[key])) if key in values else "not set"


def swept_words(overrides: Iterable[str], label: str) -> list[str]:
    """Return the overrides of a job that its label names: those in which the jobs of its sweep differ."""
    return [word for word in overrides if f" {word} " in f" {label} "]
