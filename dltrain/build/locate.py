"""Which classes and functions a config may name: an allowlist, checked again by where an object really lives."""

import functools
import importlib
import re
import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from dltrain.build.library import LIBRARIES
from dltrain.config.hints import nearest
from dltrain.errors import ConfigError

PARTS = (
    "dltrain.models",
    "dltrain.losses",
    "dltrain.metrics",
    "dltrain.tasks",
    "dltrain.optimizers",
    "dltrain.schedules",
    "dltrain.activations",
    "dltrain.initializers",
    "dltrain.data.sources",
    "dltrain.data.augment",
    "dltrain.data.preprocess",
    "dltrain.data.images.options",
    "dltrain.data.images.encode",
    "dltrain.data.series.encode",
    "dltrain.data.series.long",
    "dltrain.data.tables.encode",
    "dltrain.data.texts.encode",
    "dltrain.callbacks",
)
"""The modules of dltrain whose members a config may name: parts, never commands or file access."""

DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")


def locate(target: Any, *, path: str, trust: Collection[str] = ()) -> Callable[..., Any]:
    """Return the class or function with this dotted name, or raise ConfigError if a config may not use it."""
    where = f"{path}._target_={target}"
    if not isinstance(target, str) or not DOTTED.fullmatch(target):
        raise ConfigError(f"{where}: must be a dotted name such as dltrain.models.mlp.MLP")
    roots = (*PARTS, *LIBRARIES, *trust)
    root = next((r for r in roots if target.startswith(r + ".")), None)
    if root is None:
        package = target.split(".")[0]
        raise ConfigError(
            f"{where}: a config may name parts of dltrain, optax, flax.nnx and jax.nn. If {package} is a package "
            f"of yours, allow it on the command line: trust=[{package}]"
        )
    found: Any = _module(root, where)
    for name in target[len(root) + 1 :].split("."):
        inside = getattr(found, "__name__", "")
        if isinstance(found, types.ModuleType) and not hasattr(found, name):
            try:
                importlib.import_module(f"{inside}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{inside}.{name}":  # an import inside the user's module failed
                    raise ConfigError(f"{where}: importing it failed: {error}") from error
            except Exception as error:
                raise _broken(where, f"{inside}.{name}", error) from error
        if not hasattr(found, name):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise ConfigError(f"{where}: {inside} has no {name}{nearest(name, public)}")
        found = getattr(found, name)
        if isinstance(found, types.ModuleType) and not _lives_in(found.__name__, (root,)):
            raise ConfigError(f"{where}: {name} is the module {found.__name__}, which a config may not name")
    _check_origin(found, root, roots, where)
    return found


def _check_origin(found: Any, root: str, roots: Collection[str], where: str) -> None:
    """Check the module that defines an object, since an allowed module may have imported it from another one."""
    while isinstance(found, functools.partial):  # optax.nadam is one, over optax.adam
        found = found.func
    home = getattr(found, "__module__", None) or ""
    homes = (*roots, "flax", "jax._src") if root in LIBRARIES else (*roots, "flax", "jax._src.nn")
    if isinstance(found, types.ModuleType) or not callable(found):
        raise ConfigError(f"{where}: is not a class or function")
    if not _lives_in(home, homes):
        raise ConfigError(f"{where}: is defined in {home or 'no module'}, which a config may not name")


def _lives_in(module: str, roots: Collection[str]) -> bool:
    return any(module == root or module.startswith(root + ".") for root in roots)


def _module(name: str, where: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        lost = f"; dltrain looks for {name} here, in {Path.cwd()}, and where Python is installed"
        missing = isinstance(error, ModuleNotFoundError) and name.startswith(error.name or ".")
        raise ConfigError(f"{where}: importing {name} failed: {error}{lost * missing}") from error
    except Exception as error:
        raise _broken(where, name, error) from error


def _broken(where: str, name: str, error: Exception) -> ConfigError:
    """Say that a module of the user's cannot be imported; the command line adds file and line."""
    return ConfigError(f"{where}: importing {name} failed: {type(error).__name__}: {error}")
