"""Composes YAML with Hydra: search path, version, and Hydra's exceptions as ConfigError."""

import contextlib
import copy
import os
import re
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from dltrain.composition.overrides import quote
from dltrain.config.folders import yaml_fault
from dltrain.errors import ConfigError

ONE_AT_A_TIME = threading.RLock()
"""Held while Hydra composes: it keeps its state in the process, and several threads may open runs."""


def make_loader(folders: tuple[Path, ...]) -> Callable[[str, Sequence[str]], Any]:
    """Return a function that composes a YAML of `folders` with Hydra, and caches the results."""
    done: dict[tuple[str, ...], Any] = {}

    def load(name: str, words: Sequence[str]) -> Any:
        import hydra
        from hydra.core.global_hydra import GlobalHydra

        if (name, *words) in done:
            return copy.deepcopy(done[name, *words])
        with ONE_AT_A_TIME:
            inside = GlobalHydra.instance().is_initialized()  # in a job of a sweep, with the same folders
            start = (
                contextlib.nullcontext()
                if inside
                else hydra.initialize_config_dir(str(folders[0]), **version_base())
            )
            with translated(), start:
                done[name, *words] = hydra.compose(name, [*words, *search_path(folders)])
        return copy.deepcopy(done[name, *words])

    return load


def search_path(folders: tuple[Path, ...]) -> list[str]:
    """Return the override that adds the user's folders to Hydra's search path."""
    more = ",".join(quote(f"file://{folder}") for folder in folders[1:])
    return [f"hydra.searchpath=[{more}]"] if more else []


def version_base() -> dict[str, Any]:
    """Ask for Hydra 1.3's behaviour; 1.4 has no other and warns about the argument."""
    import hydra

    return {"version_base": "1.3"} if tuple(map(int, hydra.__version__.split(".")[:2])) < (1, 4) else {}


def run_hydra(folders: tuple[Path, ...], task: Callable[[Any], Any], *arguments: str) -> None:
    """Run `task` as a Hydra application on train.yaml, as if `arguments` had been typed."""
    import hydra

    with translated(), _arguments(*arguments):
        hydra.main(config_path=str(folders[0]), config_name="train", **version_base())(task)()


@contextlib.contextmanager
def translated() -> Generator[None]:
    """Turn Hydra's and OmegaConf's exceptions into ConfigError, and keep Hydra from printing and exiting."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except YAMLError as error:
        raise ConfigError(
            yaml_fault(getattr(getattr(error, "problem_mark", None), "name", "a YAML file"), error)
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_worded(error)) from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)  # another thread may have been here
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def _worded(error: Exception) -> str:
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    if not lines:
        return "the config cannot be composed"
    text = " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
    text = re.sub(r"^In '([^']+)':\s*", r"\1.yaml: ", text)
    text = re.sub(r".*Could not find 'hydra/(\w+)/(\w+)'.*", r"hydra/\1=\2: no such \1 is installed", text)
    return text.replace("Hydra", "dltrain")


@contextlib.contextmanager
def _arguments(*words: str) -> Generator[None]:
    before = sys.argv
    sys.argv = ["dltrain", *words]
    try:
        yield
    finally:
        sys.argv = before
