"""What a checkpoint records about the run that wrote it, and the comparison with a run folder that is opened again.

A wrong result must not be reported as right, so whatever the weights were trained with is compared: the run, its
config, values of environment variables in it, and the code of user packages. What changes the result is refused;
what a run may change, and code, is reported.
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from dltrain.build.identity import identity
from dltrain.config.changes import differing, environment_of, kept_part, leaves, may_change, of_part
from dltrain.config.folders import parse_yaml
from dltrain.devices import runtime
from dltrain.errors import CheckpointError, ConfigError
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.types import Spec

INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
FEW = 5  # names in a message
SHORT, LONG = 3, 8  # letters: up to SHORT are not a secret, LONG are found inside other text, too
Warn = Callable[[str], None]


def describe_run(
    run: str,
    text: str,
    trust: Collection[str],
    *,
    data: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
    alone: bool = True,
) -> dict[str, Any]:
    """Return what is recorded with each checkpoint.

    Args:
        run: the id of the run.
        text: its config, as saved.
        trust: its user packages, already imported.
        data: `Parts.described`.
        before: what the checkpoint has recorded from which the run goes on.
        alone: whether its result depends on no other run.
    """
    config = parse_yaml(text)
    settings, code = leaves(config), _code(trust)
    same = identity(settings, data) if alone else None
    if before is not None and (before.get("identity") != same or differing_code(before.get("code", {}), code)):
        same = None  # one part of it was trained in another way
    return {
        "run": run,
        "versions": runtime.versions(),
        "numerics": runtime.numerics(),
        "config": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "settings": settings,
        "environment": {name: _concealed(name, run) for name in environment_of(config)},
        "code": code,
        "identity": same,
    }


def check_run(
    folder: RunFolder, saved: Mapping[str, Any], found: Checkpoint, trust: Collection[str], *, warn: Warn
) -> None:
    """Compare what a checkpoint was trained with to what its run folder and this process have now.

    Args:
        folder: the run folder, for messages.
        saved: its config.yaml.
        found: the checkpoint.
        trust: the user packages, already imported.
        warn: receives what differs and may.

    Raises:
        ConfigError: config.yaml was edited, or an environment variable in it changed, where a run keeps its value.
    """
    about = found.about
    if "settings" not in about:  # written by an older dltrain
        return
    _check_settings(folder, saved, found, warn)
    _check_environment(folder, saved, found, warn)
    if others := differing_code(about.get("code", {}), _code(trust)):
        more = f" and {len(others) - FEW} more" * (len(others) > FEW)
        warn(
            f"the code of {', '.join(others[:FEW])}{more} differs from the code that the checkpoint of step "
            f"{found.step} was trained with; results may differ"
        )


def check_no_secret(spec: Spec, text: str) -> None:
    """Raise ConfigError if a value of an environment variable in a config became a name in the data's description.

    Names of classes, columns and tokens are written to files, figures and TensorBoard.
    """
    features = [*spec.inputs.values(), *spec.targets.values()]
    names = {name for feature in features for name in (*feature.names, *feature.vocabulary)}
    for variable, keys in environment_of(parse_yaml(text)).items():
        value = os.environ.get(variable, "")
        if len(value) > SHORT and any(name == value or (len(value) >= LONG and value in name) for name in names):
            key = next((key for key in keys if key.startswith("data.")), keys[0])
            raise ConfigError(
                f"{key}: the value of the environment variable {variable} would be the name of a class, column or "
                "token, which is written to files and figures, and it may be a secret; type the name itself"
            )


def _check_settings(folder: RunFolder, saved: Mapping[str, Any], found: Checkpoint, warn: Warn) -> None:
    before = found.about["settings"]
    changes = differing(before, leaves(saved))
    if found.about.get("versions", {}).get("dltrain") != runtime.versions()["dltrain"]:
        changes = {key: change for key, change in changes.items() if key in before}  # keys of a newer dltrain
    for key in changes:
        if not may_change(key):
            raise ConfigError(
                f"{folder.config}: {of_part(changes, key)}: was edited after the checkpoint of step {found.step} "
                f"was written; a run keeps its {kept_part(key)}: set it back, or start a new run"
            )
    if changes and not _is_as_written(folder, warn):
        for change in changes.values():
            warn(f"{folder.config}: {change} since the checkpoint of step {found.step} was written")


def _is_as_written(folder: RunFolder, warn: Warn) -> bool:
    """Tell whether config.yaml is as dltrain wrote it last, such as by a resume that changed what may change."""
    try:
        return folder.read_started().get("config") == hashlib.sha256(folder.config.read_bytes()).hexdigest()
    except CheckpointError as error:
        warn(str(error))
        return False


def _check_environment(folder: RunFolder, saved: Mapping[str, Any], found: Checkpoint, warn: Warn) -> None:
    before = found.about.get("environment", {})
    for name, keys in environment_of(saved).items():
        if name not in before or before[name] == _concealed(name, found.about["run"]):
            continue
        told = f"the environment variable {name} is not what it was at the checkpoint of step {found.step}"
        kept = [key for key in keys if not may_change(key)]
        if kept:
            raise ConfigError(f"{folder.config}: {kept[0]}: {told}; a run keeps its {kept_part(kept[0])}")
        warn(f"{folder.config}: {', '.join(keys)}: {told}")


def differing_code(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the modules whose source differs; one that was not imported both times cannot be compared."""
    return [name for name in before if name in now and before[name] != now[name]]


def warn_of_other_bits(found: Checkpoint, *, warn: Warn) -> None:
    """Report what differs from the checkpoint in versions, and in what else decides the last bits."""
    for what, now in (("versions", runtime.versions()), ("numerics", runtime.numerics())):
        before = found.about.get(what, {})
        if others := [f"{n} {before[n]} -> {now[n]}" for n in now if n in before and before[n] != now[n]]:
            warn(f"{what} differ from the checkpoint's: {', '.join(others)}; results may not be bit-identical")


def _concealed(name: str, salt: str) -> str:
    """Return a hash of the value of an environment variable that is slow to guess from: it may be a secret."""
    value = os.environ.get(name)
    if value is None:
        return "not set"
    return hashlib.scrypt(
        value.encode("utf-8", "surrogateescape"), salt=f"{salt} {name}".encode(), n=2**14, r=8, p=1, dklen=16
    ).hex()


def _code(trust: Collection[str]) -> dict[str, str]:
    """Return the SHA-256 of each imported module of user packages, and of modules that lie next to them."""
    if not trust:
        return {}
    installed = [Path(sysconfig.get_path(name)).resolve() for name in INSTALLED]
    files = {name: Path(file) for name, module in list(sys.modules.items()) if (file := _source(module))}
    roots = {name for name in files if any(name == root or name.startswith(f"{root}.") for root in trust)}
    siblings = {_top(files[name], name) for name in roots}
    siblings = {place for place in siblings if not any(place.is_relative_to(other) for other in installed)}
    chosen = {
        name: file
        for name, file in files.items()
        if name in roots or (_top(file, name) in siblings and not name.startswith(("dltrain", "__main__")))
    }
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in sorted(chosen.items())}


def _source(module: Any) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and file.endswith(".py") and Path(file).is_file() else None


def _top(file: Path, name: str) -> Path:
    """Return the folder from which a module or its package is imported."""
    up = name.count(".") + (file.name == "__init__.py")
    return file.resolve().parents[up]
